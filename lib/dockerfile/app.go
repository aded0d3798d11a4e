package dockerfile

import (
	"fmt"
	"io/fs"
	"strings"

	"svckit/lib/spec"
)

// For writes the Dockerfile of an app's runtime for its source folder; nil when the app
// has a Dockerfile of its own. file is the name of the spec, for messages.
func For(dir fs.FS, file string, app spec.App) ([]byte, error) {
	if app.Build.Runtime == "" {
		return nil, nil
	}
	text, err := Generate(app.Build.Runtime, Look(dir, app.Name))
	if err != nil {
		return nil, err
	}
	var problems []spec.Problem
	if !strings.Contains(text, "\nCMD ") && app.Build.Runtime != spec.Static {
		for _, s := range app.Services {
			if len(s.Command) == 0 {
				problems = append(problems, spec.Problem{
					File: file, Path: "services." + s.Key + ".command",
					Msg: fmt.Sprintf("missing: the Dockerfile of runtime %s has no command of its own", app.Build.Runtime),
				})
			}
		}
	}
	return []byte(text), spec.Invalid(file, problems)
}
