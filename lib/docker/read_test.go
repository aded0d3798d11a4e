package docker

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"

	"svckit/lib/fleet"
)

func TestTheEndOfALogIsCleanedAndBounded(t *testing.T) {
	long := strings.Repeat("ä", 300) // 600 bytes
	rows := []struct {
		name, text string
		n          int
		want       []string
	}{
		{"nothing", "", 5, nil},
		{"empty lines at the end", "a\n\n\n", 5, []string{"a"}},
		{"the last ones", "a\nb\nc\n", 2, []string{"b", "c"}},
		{"an empty line between", "a\n\nc", 5, []string{"a", "", "c"}},
		{"colours and returns", "\x1b[31mred\x1b[0m\r\nx\x07y\tz", 5, []string{"[31mred[0m", "xy z"}},
		{"no UTF-8", "a\xffb", 5, []string{"a\uFFFDb"}},
		{"a long line is cut between characters", long, 1, []string{strings.Repeat("ä", 198) + "…"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := tailLines([]byte(row.text), row.n)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			for _, l := range got {
				if len(l) > maxLine || !utf8.ValidString(l) {
					t.Errorf("line of %d bytes, valid %v", len(l), utf8.ValidString(l))
				}
			}
		})
	}
}

func TestOnlyTheLastBytesOfAHugeLogAreHeld(t *testing.T) {
	var b lastBytes
	block := []byte(strings.Repeat("x", 100_000))
	for range 50 {
		_, _ = b.Write(block)
	}
	_, _ = b.Write([]byte("end"))
	if len(b.text) > 2*maxRead || !strings.HasSuffix(string(b.text), "xend") {
		t.Errorf("%d bytes held", len(b.text))
	}
}

func TestTheProcessTableIsReadByItsTitles(t *testing.T) {
	got, err := processesOf(container.TopResponse{
		Titles: []string{"PPID", "PID", "COMMAND"},
		Processes: [][]string{
			{"10", "12", "gunicorn: worker\x1b[31m"}, {"1", "10", "/sbin/docker-init -- gunicorn -c x"}, {"a", "b", "c"}, {"1"},
		},
	})
	want := []fleet.Process{{PID: 10, Parent: 1, Command: "/sbin/docker-init -- gunicorn -c x"}, {PID: 12, Parent: 10, Command: "gunicorn: worker[31m"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if _, err := processesOf(container.TopResponse{Titles: []string{"PID", "USER"}}); err == nil {
		t.Error("a table without parents was read")
	}
}

func TestTheUserOfAnImageIsFound(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/app:/bin/sh\nbroken\n"
	const group = "root:x:0:\nweb:x:33:app\n"
	rows := []struct {
		name, user, passwd, group string
		uid, gid                  int
		fails                     bool
	}{
		{"nobody named", "", passwd, group, 0, 0, false},
		{"name", "app", passwd, group, 1000, 1001, false},
		{"name and group", "app:web", passwd, group, 1000, 33, false},
		{"name and number", "app:7", passwd, group, 1000, 7, false},
		{"known number takes its group", "1000", passwd, group, 1000, 1001, false},
		{"unknown number", "4711", passwd, group, 4711, 0, false},
		{"numbers in an empty image", "4711:12", "", "", 4711, 12, false},
		{"unknown name", "nobody", passwd, group, 0, 0, true},
		{"unknown group", "app:staff", passwd, group, 0, 0, true},
		{"name in an empty image", "app", "", "", 0, 0, true},
		{"number out of range", "99999999999", passwd, group, 0, 0, true},
		{"negative number", "-1", passwd, group, 0, 0, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			uid, gid, err := LookupUser([]byte(row.passwd), []byte(row.group), row.user)
			if uid != row.uid || gid != row.gid || (err != nil) != row.fails {
				t.Errorf("%d:%d, %v; want %d:%d, failure %v", uid, gid, err, row.uid, row.gid, row.fails)
			}
		})
	}
}

func TestIDsAreShiftedByARemappedUserNamespace(t *testing.T) {
	if uid, gid, err := HostID(fleet.Engine{Root: "/var/lib/docker"}, 5, 6); uid != 5 || gid != 6 || err != nil {
		t.Errorf("without remap: %d:%d, %v", uid, gid, err)
	}
	if uid, gid, err := HostID(fleet.Engine{UserNS: true, Root: "/var/lib/docker/165536.231072"}, 5, 6); uid != 165541 || gid != 231078 || err != nil {
		t.Errorf("with remap: %d:%d, %v", uid, gid, err)
	}
	if _, _, err := HostID(fleet.Engine{UserNS: true, Root: "/var/lib/docker"}, 5, 6); err == nil {
		t.Error("a root without ids was accepted")
	}
}
