// Command scaled decides how many workers of each service run on which node,
// and makes it so through Consul.
package main

import (
	"github.com/urfave/cli/v2"

	"svckit/lib/tool"
)

func main() { tool.Main(app()) }

// app is the program.
func app() *cli.App {
	return &cli.App{
		Name:  "scaled",
		Usage: "size and place services",
		Description: `scaled decides how many workers of each service run, and on which nodes.
Every decision carries its reason and can be made again from what it was made of.`,
		Commands: []*cli.Command{
			planCommand(),
		},
	}
}
