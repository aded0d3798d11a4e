// Command scaled decides how many workers of each service run on which node.
package main

import (
	"github.com/urfave/cli/v2"

	"svckit/lib/here"
	"svckit/lib/tool"
)

func main() { tool.Main(app()) }

// app is the program.
func app() *cli.App {
	w := here.This()
	return &cli.App{
		Name:  "scaled",
		Usage: "decide how many workers of each service run on which node",
		Description: `scaled sizes services by their demand and places them on the nodes of their
pools. plan shows what it decides for a snapshot of a fleet, and why; simulate
tries a policy on a trace of demand before it is switched on.`,
		Commands: []*cli.Command{
			runCommand(w), onceCommand(w), statusCommand(w), planCommand(w), historyCommand(w), announceCommand(w), announcementsCommand(w), cancelCommand(w),
			freezeCommand(w), thawCommand(w), setCommand(w), poolCommand(w), simulateCommand(), traceCommand(),
		},
	}
}
