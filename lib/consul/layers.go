package consul

import (
	"context"
	"sort"
	"strings"

	"github.com/hashicorp/consul/api"

	"svckit/lib/spec"
)

// Layers reads the three levels of config and the app's secrets. Config that
// the token must not see is an error: a service must not start with half of
// it. Hidden secrets are told in Skipped, as a service may need none.
func (c *Client) Layers(ctx context.Context, app, service string) (spec.Layers, error) {
	own, err := c.keys.serviceConfig(app, service)
	if err != nil {
		return spec.Layers{}, err
	}
	shared := c.keys.shared()
	common, _ := c.keys.config(app)   // the app's name was checked above
	secrets, _ := c.keys.secrets(app) //

	var l spec.Layers
	for _, level := range []struct {
		prefix string
		into   *map[string]string
	}{{shared, &l.Shared}, {common, &l.App}, {own, &l.Service}, {secrets, &l.Secrets}} {
		pairs, hidden, err := c.list(ctx, level.prefix)
		if err != nil {
			return spec.Layers{}, err
		}
		if hidden && level.prefix != secrets {
			return spec.Layers{}, notAllowed("read", level.prefix)
		}
		if hidden {
			l.Skipped = append(l.Skipped, level.prefix+": not allowed: the Consul token hides secrets")
		}
		values, skipped := sortLevel(level.prefix, pairs)
		*level.into = values
		l.Skipped = append(l.Skipped, skipped...)
	}
	sort.Strings(l.Skipped)
	return l, nil
}

// Apps returns the names of the apps that have keys, sorted.
func (c *Client) Apps(ctx context.Context) ([]string, error) {
	found, err := c.names(ctx, c.keys.apps(), "/")
	if err != nil {
		return nil, err
	}
	var apps []string
	for _, name := range found {
		name, folder := strings.CutSuffix(name, "/")
		if !folder || !appName.MatchString(name) {
			c.log.Warn("skip key that is no app", "key", shown(c.keys.apps()+name))
			continue
		}
		apps = append(apps, name)
	}
	sort.Strings(apps)
	return apps, nil
}

// sortLevel splits pairs into usable values by name and a reason for every other key.
func sortLevel(prefix string, pairs []*api.KVPair) (values map[string]string, skipped []string) {
	values = make(map[string]string, len(pairs))
	for _, p := range pairs {
		name := strings.TrimPrefix(p.Key, prefix)
		switch {
		case strings.Contains(name, "/"):
			skipped = append(skipped, shown(p.Key)+": nested path, expected one name")
		case !configName.MatchString(name):
			skipped = append(skipped, shown(p.Key)+": not a name of a variable, expected [A-Za-z_][A-Za-z0-9_]{0,127}")
		default:
			values[name] = string(p.Value)
		}
	}
	return values, skipped
}
