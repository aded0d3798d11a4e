package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func container(id byte, service, image string, state fleet.State) fleet.Instance {
	return fleet.Instance{ID: strings.Repeat(string(id), 64), App: "shop", Service: service, Image: image, Release: image, State: state, Prefix: "svc"}
}

func knownAs(i fleet.Instance) fleet.Registration {
	return fleet.Registration{Meta: map[string]string{fleet.MetaContainer: i.ID}}
}

func TestRestoreLooksAfterWhatDoesNotRunOrIsNotKnown(t *testing.T) {
	runs, ended := container('a', "web", "r1", fleet.Running), container('b', "api", "r1", fleet.Exited)
	fresh, foreign := container('c', "db", "r1", fleet.Created), container('d', "mail", "r1", fleet.Exited)
	foreign.Prefix = "other"
	all := []fleet.Instance{runs, ended, fresh, foreign}
	rows := []struct {
		name  string
		known []fleet.Registration
		asked bool
		want  []string
	}{
		{"all that runs is known", []fleet.Registration{knownAs(runs)}, true, []string{"shop/api"}},
		{"what runs is not known", nil, true, []string{"shop/api", "shop/web"}},
		{"Consul was not asked", nil, false, []string{"shop/api"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var got []string
			for _, of := range lost(all, row.known, "svc", row.asked) {
				got = append(got, of.String())
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("%q, want %q", got, row.want)
			}
		})
	}
}

func TestTheEndOfRestoreSaysHowMuchWasRestored(t *testing.T) {
	two := restored{Services: make([]restoration, 2)}
	one := restored{Services: make([]restoration, 1)}
	failure := fmt.Errorf("restore shop/web: %w", fault.New(fault.Unhealthy, "its check did not pass"))
	offline := one
	offline.Offline = "connection refused"
	rows := []struct {
		name     string
		r        restored
		failures []error
		want     fault.Kind
	}{
		{"everything", two, nil, fault.OK},
		{"nothing was lost", restored{}, nil, fault.OK},
		{"one of two", two, []error{failure}, fault.Partial},
		{"none of two", two, []error{failure, failure}, fault.Failed},
		{"the only one keeps its kind", one, []error{failure}, fault.Unhealthy},
		{"without Consul", offline, nil, fault.Partial},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := fault.KindOf(row.r.verdict(row.failures)); got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
		})
	}
}
