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
		{unbound, "unpack Debian's unbound", "5 s", unpackUnbound},
		{coredns, "build CoreDNS from source", "5 min on 2 cores", func(ctx context.Context, work, out string) error {
			return goBuild(ctx, work, "coredns", out, "github.com/coredns/coredns")
		}},
	})
}

// unpackUnbound makes a folder with unbound, the libraries that it brings along, and a script "run" that starts it with them.
func unpackUnbound(ctx context.Context, work, out string) error {
	cmd := exec.CommandContext(ctx, "sh", "-ec", `
		pkgs="unbound libevent-2.1-7 libnghttp2-14 libprotobuf-c1 libpython3.11 libhiredis0.14"
		apt-get -qq download $pkgs || { apt-get -qq update; apt-get -qq download $pkgs; }
		mkdir "$0"
		for f in *.deb; do dpkg -x "$f" "$0"; done
		cat >"$0/run" <<'END'
#!/bin/sh
here=$(dirname "$0")
LD_LIBRARY_PATH=$here/usr/lib/$(uname -m)-linux-gnu exec "$here/usr/sbin/unbound" "$@"
END
		chmod 0755 "$0/run"`, out)
	cmd.Dir = work
	return runQuietly(cmd)
}
