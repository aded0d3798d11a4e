// Package inventory writes what Ansible has to know of a fleet of the lab's machines.
package inventory

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// Secret is that of every fleet of the lab; tokens and keys are made from it.
const Secret = "7c0f4f0e-1a57-4f0c-9d0e-2f8f5f1f9f11"

// Host is a machine that sshd runs on.
type Host struct {
	Name, Addr, DC, Zone string
}

// Fleet is machines, and what is brought to them.
type Fleet struct {
	Hosts      []Host
	SSHConfig  string   // file for `ssh -F`
	Registry   string   // host:port, without TLS
	Collection string   // the folder ansible/ of the project
	Programs   string   // folder with the programs
	Consul     string   // its program
	Inside     []string // prefix of a command in the network where the machines are reached; none: it is this one
}

// Vars are variables of the inventory: a host's name, or "all", and what it has.
type Vars map[string]map[string]any

// Write makes a folder with inventory.yml, ansible.cfg, the collection (a link) and `play`, which runs a playbook: `play
// site`. The first three hosts of a datacenter, or its only one, are its Consul servers; the first two hosts of all have planners.
func Write(dir string, f Fleet, more Vars) error {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir+"/ansible_collections/svckit", 0o755)
	}
	if err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	link := dir + "/ansible_collections/svckit/svckit"
	if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("write inventory: %w", err)
	}
	if err := os.Symlink(f.Collection, link); err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	groups, err := json.MarshalIndent(f.groups(more), "", "  ") // JSON is YAML
	if err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	for _, file := range []struct {
		name string
		text []byte
		mode os.FileMode
	}{
		{"ansible.cfg", fmt.Appendf(nil, config, dir, f.SSHConfig), 0o600},
		{"inventory.yml", groups, 0o600},
		{"play", fmt.Appendf(nil, play, dir, strings.Join(append(f.Inside, "ansible-playbook"), " ")), 0o700},
	} {
		if err := os.WriteFile(filepath.Join(dir, file.name), file.text, file.mode); err != nil {
			return fmt.Errorf("write inventory: %w", err)
		}
	}
	return nil
}

const config = `[defaults]
collections_path = %[1]s
inventory = %[1]s/inventory.yml
forks = 8
gathering = explicit
interpreter_python = /usr/bin/python3
local_tmp = %[1]s/tmp
nocolor = true
[ssh_connection]
pipelining = true
control_path_dir = %[1]s
ssh_args = -F %[2]s -o ControlMaster=auto -o ControlPersist=60s
`

const play = `#!/bin/sh
# play PLAYBOOK [ARG…]: one of the collection, e.g. site, or a file.
set -eu
book=$1
shift
case $book in */*) ;; *) book=svckit.svckit.$book ;; esac
export ANSIBLE_CONFIG=%[1]s/ansible.cfg ANSIBLE_HOME=%[1]s/home LC_ALL=C.UTF-8
exec %[2]s "$book" "$@"
`

// groups are those that the playbooks want.
func (f Fleet) groups(more Vars) map[string]any {
	all := map[string]any{
		"svckit_secret": Secret, "svckit_bin": f.Programs, "consul_binary": f.Consul,
		"docker_insecure_registries": []string{f.Registry}, "svckit_pool": "production",
		"consul_raft_multiplier": 5, // the servers of a lab share their processors, and keep their leader when these have much else to do
	}
	maps.Copy(all, more["all"])
	servers, nodes, planners, size, rank := map[string]any{}, map[string]any{}, map[string]any{}, map[string]int{}, map[string]int{}
	for _, h := range f.Hosts {
		size[h.DC]++
	}
	for n, h := range f.Hosts {
		vars := map[string]any{"ansible_host": h.Addr, "consul_datacenter": h.DC, "svckit_zone": h.Zone}
		maps.Copy(vars, more[h.Name])
		nodes[h.Name] = vars
		if rank[h.DC]++; rank[h.DC] == 1 || rank[h.DC] <= 3 && size[h.DC] >= 3 {
			servers[h.Name] = nil
		}
		if n < 2 {
			planners[h.Name] = nil
		}
	}
	hosts := func(h map[string]any) map[string]any { return map[string]any{"hosts": h} }
	return map[string]any{"all": map[string]any{"vars": all, "children": map[string]any{
		"consul_servers": hosts(servers), "svckit_nodes": hosts(nodes), "svckit_planners": hosts(planners),
	}}}
}
