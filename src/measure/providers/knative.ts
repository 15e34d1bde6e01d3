/**
 * Knative, by the addresses of its services: the endpoints' protocol over HTTP, with the Host by which its gateway tells services apart.
 *
 * vHive's own functions speak gRPC (`ProducerConsumer.InvokeNext`), which is not built; an image of `on-http` from the folder functions takes their place. Nothing is deployed: that
 * is kubectl's work, and `cannot` says so.
 */
import { PlatformError } from '#contract/errors.ts'
import { addressOf, EndpointsProvider } from './endpoints.ts'

export interface KnativeService {
  /** Of the gateway, or of the service itself. */
  readonly url: string
  /** As `producer.default.example.com`, when the URL is the gateway's. */
  readonly host?: string | undefined
}

export function knativeProvider(services: readonly KnativeService[]): EndpointsProvider {
  return new EndpointsProvider({
    name: 'knative',
    source: 'the services given',
    note: 'and has to speak HTTP: gRPC, as vHive\'s functions speak it, is not built',
    services: services.map(({ url, host }) => {
      const address = /^https?:\/\//.test(url) ? addressOf(url) : undefined
      if (address === undefined) throw new PlatformError('INPUT_INVALID', `${JSON.stringify(url.slice(0, 200))} is no address of a Knative service; give one like http://127.0.0.1:8080.`)
      if (host !== undefined && !/^[\w.:-]{1,255}$/.test(host)) throw new PlatformError('INPUT_INVALID', `${JSON.stringify(host.slice(0, 200))} is no name of a host; give one like producer.default.example.com.`)
      // Functions of a chain reach each other inside of the cluster, by name.
      return { id: host === undefined ? url : `http://${host}${address.path}`, ...address, host, like: undefined }
    }),
  })
}
