// Command scaled decides how many workers of each service run on which node.
package main

import (
	"github.com/urfave/cli/v2"

	"svckit/lib/here"
	"svckit/lib/tool"
)

func main() { tool.Main(app(here.This())) }

// app is the program on a node.
func app(w *here.Node) *cli.App {
	return &cli.App{
		Name:  "scaled",
		Usage: "decide how many workers of each service run on which node",
		Description: `scaled sizes services by their demand and places them on the nodes of their
pools. plan shows what it decides for a snapshot of a fleet, and why; simulate
tries a policy on a trace of demand before it is switched on. node runs on each
node: it watches what services do there.`,
		Commands: []*cli.Command{nodeCommand(w), planCommand(), simulateCommand(), traceCommand()},
	}
}
