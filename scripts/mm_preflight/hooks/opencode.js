// OpenCode asks mm-preflight before each tool call, and a call that may reset embeddings is refused.
// Save this as ~/.config/opencode/plugins/mm-preflight.js, and start OpenCode again.
import { spawnSync } from "node:child_process"

export const MmPreflight = async () => ({
  "tool.execute.before": async (input, output) => {
    const call = JSON.stringify({ tool_name: input.tool, tool_input: output.args })
    const options = { input: call, encoding: "utf8", timeout: 10_000, windowsHide: true }
    const { status, stdout, stderr, error } = spawnSync("mm-preflight", ["--agent-hook"], options)
    if (status !== 0) {
      throw new Error(stderr || `mm-preflight: blocked, it gave no answer: ${error ?? status}`)
    }
    if (stdout) {
      throw new Error(JSON.parse(stdout).hookSpecificOutput.permissionDecisionReason)
    }
  },
})
