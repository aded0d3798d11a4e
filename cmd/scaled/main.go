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
		Description: `scaled sizes services by their demand and places them on the nodes of their pools. run plans for the
whole fleet; node runs on each node, watches what services do there and brings them to what is planned.
Everything else looks, or tells the planner something; simulate tries a policy on a trace of demand before
it is switched on.`,
		Commands: []*cli.Command{
			runCommand(w), onceCommand(w), nodeCommand(w), statusCommand(w), planCommand(w), historyCommand(w), announceCommand(w), announcementsCommand(w), cancelCommand(w),
			freezeCommand(w), thawCommand(w), setCommand(w), poolCommand(w), simulateCommand(), traceCommand(),
		},
	}
}
