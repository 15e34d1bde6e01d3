/**
 * Goal: the routes of S3 credentials answer what their schemas say, act in the caller's namespace only, and show a secret once.
 *
 * Method: the real API over real stores.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { apiGround } from './api.fake.ts'
import { s3Routes } from './routes/s3.ts'

test('credentials for S3 clients are made, listed and revoked, per namespace', async (context) => {
  const { call } = await apiGround(context)
  const schemaOf = (method: string, path: string, status: number) => s3Routes.find((one) => one.method === method && one.path === path)!.answers[status]!.schema!
  const { key } = (await call('POST', '/v1/namespaces', { body: { name: 'red' } })).json as { key: string }

  const made = await call('POST', '/v1/s3/credentials', { body: { name: 'laptop' }, key })
  assert.equal(made.status, 201)
  const { accessKeyId, secretAccessKey, namespace } = schemaOf('POST', '/v1/s3/credentials', 201).parse(made.json) as { accessKeyId: string; secretAccessKey: string; namespace: string }
  assert.match(secretAccessKey, /^[0-9a-f]{40}$/)
  assert.equal(namespace, 'red')

  const listed = await call('GET', '/v1/s3/credentials', { key })
  assert.deepEqual(schemaOf('GET', '/v1/s3/credentials', 200).parse(listed.json), { credentials: [{ accessKeyId, namespace, name: 'laptop', createdAtMs: (made.json as { createdAtMs: number }).createdAtMs }] })
  assert.deepEqual((await call('GET', '/v1/s3/credentials')).json, { credentials: [] })
  assert.deepEqual(schemaOf('GET', '/v1/s3/usage', 200).parse((await call('GET', '/v1/s3/usage', { key })).json), { bytes: 0, bytesMax: 1024 ** 4, buckets: 0 })

  assert.equal((await call('GET', '/v1/s3/credentials', { key: false })).status, 401)
  assert.equal((await call('GET', '/v1/s3/credentials?namespace=default', { key })).status, 403)
  assert.equal((await call('DELETE', `/v1/s3/credentials/${accessKeyId}`)).status, 404)
  assert.equal((await call('DELETE', '/v1/s3/credentials/none', { key })).status, 400)
  assert.equal((await call('DELETE', `/v1/s3/credentials/${accessKeyId}`, { key })).status, 204)
  assert.deepEqual((await call('GET', '/v1/s3/credentials', { key })).json, { credentials: [] })
})
