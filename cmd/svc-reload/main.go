// Command svc-reload brings new code and config into services that run on this
// node, without losing a request, and proves it.
package main

import (
	"github.com/urfave/cli/v2"

	"svckit/lib/here"
	"svckit/lib/tool"
)

func main() { tool.Main(app(here.This())) }

// app is the program on a node.
func app(w *here.Node) *cli.App {
	a := reloadCommand(w)
	return &cli.App{
		Name: "svc-reload", Usage: a.Usage, ArgsUsage: a.ArgsUsage, Description: a.Description,
		Flags: a.Flags, Action: a.Action, BashComplete: a.BashComplete,
		Commands: []*cli.Command{rollbackCommand(w), watchCommand(w)},
	}
}
