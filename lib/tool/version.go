package tool

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// Build says what this program was built from.
type Build struct {
	Version string `json:"version"` // of the module: a tag, or (devel)
	Commit  string `json:"commit,omitempty"`
	Time    string `json:"time,omitempty"` // of the commit, RFC 3339
	Dirty   bool   `json:"dirty"`          // built from a tree with changes
	Go      string `json:"go"`
	System  string `json:"system"` // e.g. linux/amd64
}

// Version reads the build's own record.
func Version() Build {
	b := Build{Version: "(devel)", Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Dirty = s.Value == "true"
		}
	}
	return b
}

// String renders one line, e.g. "v1.2.0 (3f2c91d8, dirty) go1.26.8 linux/amd64".
func (b Build) String() string {
	from := ""
	switch {
	case b.Commit != "" && b.Dirty:
		from = fmt.Sprintf(" (%.8s, dirty)", b.Commit)
	case b.Commit != "":
		from = fmt.Sprintf(" (%.8s)", b.Commit)
	}
	return fmt.Sprintf("%s%s %s %s", b.Version, from, b.Go, b.System)
}

func writeVersion(w io.Writer, app *cli.App, asJSON bool) error {
	var out bytes.Buffer
	if !asJSON {
		fmt.Fprintf(&out, "%s %s\n", app.Name, Version())
	} else if err := document(&out, Version()); err != nil {
		return err
	}
	_, err := w.Write(out.Bytes())
	return err
}

func versionCommand() *cli.Command {
	return &cli.Command{Name: "version", Usage: "show the version", Action: func(c *cli.Context) error {
		return writeVersion(c.App.Writer, c.App, c.Bool("json"))
	}}
}
