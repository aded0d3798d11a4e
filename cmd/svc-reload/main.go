// Command svc-reload brings new config into services that run on this node, by
// signal where their master can take it, without losing a request.
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
		Name:  "svc-reload",
		Usage: "bring new config into running services on this node",
		Description: `svc-reload acts on this node only: its Docker engine and its Consul agent.
A service is named APP/SERVICE or, in a folder with an app.yaml, SERVICE.`,
		Commands: []*cli.Command{
			watchCommand(w),
		},
	}
}
