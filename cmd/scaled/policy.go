package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"svckit/lib/fault"
	"svckit/lib/spec"
)

// maxSpec is far above what spec.Decode reads, so that it says what is wrong.
const maxSpec = 1 << 20

// readService reads a service's scale section. Without a file it is the
// documentation's recommendation.
func readService(file, service string) (name string, scale spec.Scale, err error) {
	if file == "" {
		if service != "" {
			return "", scale, fault.New(fault.Usage, "--service %s: name its app.yaml with -f", service)
		}
		scale, err = decodeScale([]string{"strategy: busy_ratio", "wait: 3%", "wait_over: 100ms"}, "instances")
		return "", scale, err
	}
	f, err := os.Open(file)
	if err != nil {
		if os.IsNotExist(err) {
			return "", scale, fault.New(fault.NotFound, "read spec %s: there is no such file", file)
		}
		return "", scale, fmt.Errorf("read spec: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSpec))
	if err != nil {
		return "", scale, fmt.Errorf("read spec: %w", err)
	}
	app, problems := spec.Decode(file, text)
	if err := spec.Invalid("read "+file, problems); err != nil {
		return "", scale, err
	}
	found, err := pick(app, service)
	if err != nil {
		return "", scale, err
	}
	return app.Name + "/" + found.Key, found.Scale, nil
}

// pick is the named service, or the only one that is scaled.
func pick(app spec.App, service string) (spec.Service, error) {
	if service != "" {
		s, ok := app.Service(strings.TrimPrefix(service, app.Name+"/"))
		if !ok {
			return s, fault.New(fault.NotFound, "%s has no service %s", app.Name, service)
		}
		return s, nil
	}
	var scaled []spec.Service
	for _, s := range app.Services {
		if s.Scale.Set || len(app.Services) == 1 {
			scaled = append(scaled, s)
		}
	}
	if len(scaled) != 1 {
		var names []string
		for _, s := range app.Services {
			names = append(names, s.Key)
		}
		return spec.Service{}, fault.WithHint(fault.New(fault.Usage, "%s has %d services with a scale section", app.Name, len(scaled)), "choose one with --service: %s", strings.Join(names, ", "))
	}
	return scaled[0], nil
}

// override applies --policy K=V to a scale section, as if it stood in app.yaml:
// what app.yaml refuses is refused here, with the same words. down.after and
// down.step name the keys of down.
func override(scale spec.Scale, changes []string) (spec.Scale, error) {
	if len(changes) == 0 {
		return scale, nil
	}
	lines := scaleLines(scale)
	drop := func(key string) {
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, key+":") })
	}
	down := scale.Down
	after, step := down.After.String(), fmt.Sprintf("%g%%", down.Step*100)
	for _, change := range changes {
		key, value, ok := strings.Cut(change, "=")
		if !ok || key == "" || value == "" || strings.ContainsAny(change, "\n\r") {
			return scale, fault.WithHint(fault.New(fault.Usage, "--policy %q: expected KEY=VALUE", change), "the keys are those of scale in app.yaml, e.g. --policy wait=1%% --policy down.after=5m")
		}
		switch key {
		case "down.after":
			after = value
			continue
		case "down.step":
			step = value
			continue
		case "down", "schedules", "queue":
			return scale, fault.New(fault.Usage, "--policy %s: change it in the file given with -f", key)
		case "wait":
			drop("target")
		case "target":
			drop("wait")
			drop("wait_over")
		case "strategy":
			drop("drain")
			drop("target")
			if value != "queue" {
				drop("queue")
			} else if scale.Queue == (spec.Queue{}) { // which one it is makes no difference to a trial
				lines = append([]string{"queue: {from: QUEUE_URL, list: queue}"}, lines...)
			}
		}
		drop(key)
		lines = append([]string{key + ": " + value}, lines...)
	}
	drop("down")
	lines = append([]string{fmt.Sprintf("down: {after: %s, step: %s}", after, step)}, lines...)
	return decodeScale(lines, scale.Unit)
}

// scaleLines prints a scale section as spec does, without its indentation.
func scaleLines(scale spec.Scale) (lines []string) {
	scale.Set = true
	app := spec.App{Name: "a", Services: []spec.Service{{App: "a", Key: "s", Name: "a-s", Scale: scale}}}
	in := false
	for line := range strings.Lines(string(app.Marshal())) {
		line = strings.TrimRight(line, "\n")
		if in {
			lines = append(lines, strings.TrimPrefix(line, "      "))
		}
		in = in || line == "    scale:"
	}
	return lines
}

// decodeScale decodes the lines of a scale section.
func decodeScale(lines []string, unit string) (spec.Scale, error) {
	master := "none"
	if unit == "workers" {
		master = "gunicorn"
	}
	text := "app: a\nservices:\n  s:\n    port: 1\n    master: " + master + "\n    scale:\n      " + strings.Join(lines, "\n      ") + "\n"
	app, problems := spec.Decode("--policy", []byte(text))
	if len(problems) > 0 {
		detail := make([]string, 0, len(problems))
		for _, p := range problems {
			detail = append(detail, strings.TrimPrefix(p.Path, "services.s.scale.")+": "+p.Msg)
		}
		return spec.Scale{}, &fault.Error{Kind: fault.Invalid, Msg: "read --policy: it is not valid", Detail: detail}
	}
	return app.Services[0].Scale, nil
}
