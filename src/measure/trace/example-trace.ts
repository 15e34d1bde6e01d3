/** A trace of our own making in In-Vitro's format, for the tests: six functions over five minutes, memory.csv in another order of columns and rows. */
import { join } from 'node:path'
import { existsSync } from 'node:fs'
import type { TracedFunction } from './load.ts'
import type { TextSource } from './csv.ts'

export const exampleFiles = {
  invocations: `HashOwner,HashApp,HashFunction,Trigger,480,481,482,483,484
o1,a1,steady,http,60,60,60,60,60
o1,a1,timer,timer,1,1,1,1,1
o2,a2,rare,queue,0,0,1,0,0
o2,a2,burst,http,0,500,0,0,200
o3,a3,idle,storage,0,0,0,0,0
o3,a4,slow,event,3,0,2,0,4
`,
  durations: `HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum,percentile_Average_0,percentile_Average_1,percentile_Average_25,percentile_Average_50,percentile_Average_75,percentile_Average_99,percentile_Average_100
o1,a1,steady,20,300,5,90,5,6,12,18,25,60,90
o1,a1,timer,2,5,0,8,0,0,1,2,3,8,8
o2,a2,rare,900,1,900,900,900,900,900,900,900,900,900
o2,a2,burst,150,700,40,1000,40,45,90,130,200,700,1000
o3,a3,idle,10,0,10,10,10,10,10,10,10,10,10
o3,a4,slow,70000,9,100,600000,100,200,20000,50000,90000,500000,600000
`,
  memory: `HashFunction,HashOwner,HashApp,SampleCount,AverageAllocatedMb,AverageAllocatedMb_pct1,AverageAllocatedMb_pct5,AverageAllocatedMb_pct25,AverageAllocatedMb_pct50,AverageAllocatedMb_pct75,AverageAllocatedMb_pct95,AverageAllocatedMb_pct99,AverageAllocatedMb_pct100
slow,o3,a4,9,300.5,100,120,200,300,400,500,600.5,700
idle,o3,a3,9,0.5,0.2,0.2,0.4,0.5,0.6,0.7,0.8,0.9
steady,o1,a1,9,64,32,34,50,64,70,90,100,128
timer,o1,a1,9,20,20,20,20,20,20,20,20,20
rare,o2,a2,9,150,100,110,140,150,160,190,200,200
burst,o2,a2,9,80,40,41,60,80,100,120,150,20000
`,
}

/** @param cut Characters per chunk. */
export function textSource(name: string, text: string, cut = 64): TextSource {
  return { name, chunks: Array.from({ length: Math.ceil(text.length / cut) }, (_, index) => text.slice(index * cut, (index + 1) * cut)) }
}

export function exampleSources(files: Partial<typeof exampleFiles> = {}, cut?: number): { invocations: TextSource; durations: TextSource; memory: TextSource } {
  const { invocations, durations, memory } = { ...exampleFiles, ...files }
  return { invocations: textSource('invocations.csv', invocations, cut), durations: textSource('durations.csv', durations, cut), memory: textSource('memory.csv', memory, cut) }
}

/** A function that always runs 10 ms with 100 MB. */
export function plainFunction(name: string, counts: readonly number[]): TracedFunction {
  const demand = { kind: 'percentiles', durationMs: { ranks: [0, 1], values: [10, 10] }, memoryMb: { ranks: [0, 1], values: [100, 100] } } as const
  return { name, trigger: 'http', counts: Uint32Array.from(counts), averageMs: 10, averageMb: 100, demand }
}

/** The sample of the Azure Functions 2019 trace, where there is one. */
export function realSample(): string | undefined {
  const directory = process.env['SKEP_TRACE_DIR'] ?? join(import.meta.dirname, '../../../data/azure2019-sample')
  return existsSync(join(directory, 'memory.csv')) ? directory : undefined
}

export const NO_SAMPLE = 'no Azure Functions 2019 sample here; name its directory in SKEP_TRACE_DIR'
