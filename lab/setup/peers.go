package setup

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Peers makes the DNS servers that svc-dns is measured against and returns
// their programs: CoreDNS, built from source, and unbound, unpacked from
// Debian's package, since installing that would start a server on port 53.
// (dnsmasq comes as a package without a service.)
func Peers(ctx context.Context, say *Teller) (coredns, unbound string, err error) {
	dir, err := Cache()
	if err != nil {
		return "", "", err
	}
	root, err := moduleRoot()
	if err != nil {
		return "", "", err
	}
	wanted, err := os.ReadFile(filepath.Join(root, "tools", "coredns", "go.mod"))
	if err != nil {
		return "", "", fmt.Errorf("find CoreDNS: %w", err)
	}
	coredns = filepath.Join(dir, "bin", fmt.Sprintf("coredns-%x", sha256.Sum256(wanted))[:8+12])
	unbound = filepath.Join(dir, "bin", "unbound")
	return coredns, filepath.Join(unbound, "run"), makeParts(ctx, say, []part{
		{unbound, "unpack Debian's unbound", "5 s", unpack("unbound", "unbound libevent-2.1-7 libnghttp2-14 libprotobuf-c1 libpython3.11 libhiredis0.14")},
		{coredns, "build CoreDNS from source", "5 min on 2 cores", func(ctx context.Context, work, out string) error {
			return goBuild(ctx, work, "coredns", out, "github.com/coredns/coredns")
		}},
	})
}

// unpack makes a folder with a program of a Debian package, the libraries that it
// brings along, and a script "run" that starts it with them. Installing the
// package would start a server on the machine.
func unpack(program, pkgs string) func(ctx context.Context, work, out string) error {
	return func(ctx context.Context, work, out string) error {
		cmd := exec.CommandContext(ctx, "sh", "-ec", `
		apt-get -qq download $2 || { apt-get -qq update; apt-get -qq download $2; }
		mkdir "$0"
		for f in *.deb; do dpkg -x "$f" "$0"; done
		cat >"$0/run" <<END
#!/bin/sh
here=\$(dirname "\$0")
LD_LIBRARY_PATH=\$here/usr/lib/$(uname -m)-linux-gnu exec "\$here/usr/sbin/$1" "\$@"
END
		chmod 0755 "$0/run"`, out, program, pkgs)
		cmd.Dir = work
		return runQuietly(cmd)
	}
}

// Balancers makes nginx and HAProxy, which the examples run, and returns their programs.
func Balancers(ctx context.Context, say *Teller) (nginx, haproxy string, err error) {
	dir, err := Cache()
	if err != nil {
		return "", "", err
	}
	nginx, haproxy = filepath.Join(dir, "bin", "nginx"), filepath.Join(dir, "bin", "haproxy")
	return filepath.Join(nginx, "run"), filepath.Join(haproxy, "run"), makeParts(ctx, say, []part{
		{nginx, "unpack Debian's nginx", "5 s", unpack("nginx", "nginx libpcre2-8-0")},
		{haproxy, "unpack Debian's haproxy", "5 s", unpack("haproxy", "haproxy liblua5.3-0 libpcre2-8-0 libopentracing-c-wrapper0 libopentracing1")},
	})
}
