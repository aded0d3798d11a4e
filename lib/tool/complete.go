package tool

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"
)

const completeWord = "__complete"

func complete(ctx context.Context, app *cli.App, words []string, w io.Writer) {}

func completionCommand() *cli.Command {
	return &cli.Command{Name: "completion", Usage: "print a completion script", ArgsUsage: "SHELL", Action: func(c *cli.Context) error {
		return nil
	}}
}

func manCommand() *cli.Command {
	return &cli.Command{Name: "man", Usage: "print the manual page", Hidden: true, Action: func(c *cli.Context) error {
		return nil
	}}
}
