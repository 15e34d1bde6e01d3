/**
 * Programs for the inside of a sandbox, in JavaScript for `node -e`: what the conformance suite asks of a kind that runs Node.
 */
import type { ConformanceCommands } from './sandbox.conformance.ts'

const tell = `const fs = require('node:fs'); const stay = () => setInterval(() => {}, 1e6); const tell = (text) => { fs.writeSync(3, text + '\\n'); stay() };`

/** @param node Path of Node inside. */
export function nodeCommands(node: string): ConformanceCommands {
  const script = (text: string): readonly string[] => [node, '-e', `${tell} ${text}`]
  const attempt = (code: string): readonly string[] => script(`try { ${code}; tell('yes') } catch (error) { tell(error.code) }`)
  return {
    exit: (code) => script(`process.exit(${code})`),
    killItself: (signal) => script(`process.kill(process.pid, '${signal}'); stay()`),
    echo: script(`const net = require('node:net'); const channel = new net.Socket({ fd: 3 }); channel.pipe(channel)`),
    eatMemory: script('const all = []; setInterval(() => all.push(Buffer.alloc(4e6, 1)), 1)'),
    forkBomb: script(`
      const { spawn } = require('node:child_process')
      const bomb = () => { const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6);' + source], { stdio: 'ignore' }); child.on('error', failed); child.on('spawn', bomb) }
      let failed = () => { failed = () => {}; tell('held') }
      const source = 'const { spawn } = require("node:child_process"); const bomb = () => { const c = spawn(process.execPath, ["-e", "setInterval(() => {}, 1e6)"], { stdio: "ignore" }); c.on("error", () => {}); c.on("spawn", bomb) }; bomb()'
      bomb()`),
    orphan: script(`
      const child = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore', detached: true })
      child.on('spawn', () => tell('ready')); child.unref()`),
    canRead: (path) => attempt(`fs.readFileSync(${JSON.stringify(path)})`),
    canWrite: (path) => attempt(`fs.writeFileSync(${JSON.stringify(path)}, 'x')`),
    canConnect: (port) =>
      script(`const socket = require('node:net').connect(${port}, '127.0.0.1', () => tell('yes')); socket.on('error', (error) => tell(error.code))`),
    fillTmp: script(`
      const file = fs.openSync('/tmp/full', 'w'); const part = Buffer.alloc(4096, 1); let bytes = 0
      try { for (;;) bytes += fs.writeSync(file, part) } catch (error) { tell(error.code === 'ENOSPC' ? String(bytes) : error.code) }`),
  }
}
