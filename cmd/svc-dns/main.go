// Command svc-dns is the node's DNS: Consul's names with weights and zones, and
// answers that survive a dead agent.
package main

import (
	"github.com/urfave/cli/v2"

	"svckit/lib/tool"
)

func main() { tool.Main(app(here())) }

// app is the program on a node.
func app(w *world) *cli.App {
	return &cli.App{
		Name:  "svc-dns",
		Usage: "answer names of Consul on this node",
		Description: `svc-dns answers the names of Consul from memory, with weights and zones, and goes
on while the agent is away. All other names go to the system's own servers.`,
		Commands: []*cli.Command{serveCommand(w), lookupCommand(w)},
	}
}
