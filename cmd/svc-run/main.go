// Command svc-run keeps released services running on this node: it turns a
// release and its config from Consul into healthy, registered containers.
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
		Name:  "svc-run",
		Usage: "run released services on this node",
		Description: `svc-run acts on this node only: its Docker engine and its Consul agent.
A service is named APP/SERVICE or, in a folder with an app.yaml, SERVICE.`,
		Commands: []*cli.Command{
			upCommand(w), downCommand(w), rollbackCommand(w), restoreCommand(w),
			drainCommand(w), returnCommand(w),
			psCommand(w), logsCommand(w), configCommand(w),
			releasesCommand(w), promoteCommand(w), deployCommand(w), pullCommand(w),
			runCommand(w), runsCommand(w),
			auditCommand(w), eventsCommand(w), aclCommand(w), doctorCommand(w),
			devCommand(w),
		},
	}
}
