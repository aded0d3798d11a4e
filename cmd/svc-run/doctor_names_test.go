package main

import (
	"strings"
	"testing"

	"svckit/lib/fleet"
)

func TestTheDoctorWarnsOfInstancesThatOneAddressHides(t *testing.T) {
	at := func(name, address string, port int) fleet.Registration {
		return fleet.Registration{Name: name, Address: address, Port: port}
	}
	rows := []struct {
		name string
		all  []fleet.Registration
		want string // "" for all well
	}{
		{"one instance", []fleet.Registration{at("shop-web", "10.0.0.1", 20001)}, ""},
		{"two on one address", []fleet.Registration{at("shop-web", "10.0.0.1", 20001), at("shop-web", "10.0.0.1", 20002)}, "2 instances of shop-web share the address 10.0.0.1"},
		{"two services on one address", []fleet.Registration{at("shop-web", "10.0.0.1", 20001), at("shop-api", "10.0.0.1", 20002)}, ""},
		{"addresses of their own", []fleet.Registration{at("shop-web", "10.0.9.1", 8000), at("shop-web", "10.0.9.2", 8000)}, ""},
		{"nobody connects to a daemon", []fleet.Registration{at("shop-cron", "10.0.0.1", 0), at("shop-cron", "10.0.0.1", 0)}, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			said := ""
			for _, f := range checkNames(facts{registrations: row.all}) {
				if f.Grade != good {
					said += f.Says
				}
			}
			if row.want == "" && said != "" || !strings.Contains(said, row.want) {
				t.Errorf("says %q, want %q", said, row.want)
			}
		})
	}
}
