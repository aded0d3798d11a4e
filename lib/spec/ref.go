package spec

import (
	"strings"

	"svckit/lib/fault"
)

// ParseRef reads what a command was called on: APP/SERVICE, or SERVICE alone,
// whose app is then "" and comes from the app.yaml in the folder. A bad name is
// a fault of kind Usage.
func ParseRef(arg string) (app, service string, err error) {
	app, service, both := strings.Cut(arg, "/")
	if !both {
		app, service = "", arg
	}
	if both && !nameSyntax.MatchString(app) || !nameSyntax.MatchString(service) {
		return "", "", fault.WithHint(fault.New(fault.Usage, "read %q: expected APP/SERVICE or SERVICE", clip(arg, 80)),
			"names are at most 40 letters a-z, digits and -, beginning with a letter, e.g. shortener/web")
	}
	return app, service, nil
}

// clip bounds text of others in a message to so many bytes.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
