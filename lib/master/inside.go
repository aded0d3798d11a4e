package master

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"svckit/lib/fleet"
)

// inside is what a process in a container sees: its folder and its variables.
type inside struct {
	pid int
	dir string   // in the container
	env []string // NAME=value
}

const maxEnviron = 1 << 20

func lookInside(pid int) (inside, error) {
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return inside{}, err
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return inside{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxEnviron))
	if err != nil {
		return inside{}, err
	}
	return inside{pid: pid, dir: dir, env: strings.FieldsFunc(string(text), func(r rune) bool { return r == 0 })}, nil
}

// at is a program as it would run with the code that is meant. The folder of a
// process that was started before the code was switched is that of an old
// version, since a folder is no name: the same folder of the meant version is
// taken. For code that is not current yet, every word and variable that names the
// place of the code names the version instead.
func (in inside) at(code fleet.CodeAt, command []string) fleet.Program {
	p := fleet.Program{Command: command, Dir: in.dir}
	if code.Mount == "" {
		return p
	}
	to := code.At
	if to == "" {
		to = code.Mount
	}
	switch {
	case within(in.dir, code.Mount):
		p.Dir = moved(in.dir, code.Mount, to)
	case within(in.dir, code.Versions) && in.dir != code.Versions:
		_, below, _ := strings.Cut(strings.TrimPrefix(in.dir, code.Versions+"/"), "/")
		p.Dir = path.Join(to, below)
	}
	if code.At == "" {
		return p
	}
	p.Command = make([]string, len(command))
	for k, word := range command {
		p.Command[k] = replaced(word, code)
	}
	for _, pair := range in.env {
		if now := replaced(pair, code); now != pair {
			p.Env = append(p.Env, now)
		}
	}
	return p
}

// inCode reports whether a process stands in the code of its volume.
func (in inside) inCode(code fleet.CodeAt) bool {
	return code.Mount != "" && (within(in.dir, code.Mount) || within(in.dir, code.Versions))
}

// replaced renames each place of the code in a text, where it stands as a whole
// path. Without code on a volume the text stays as it is.
func replaced(text string, code fleet.CodeAt) string {
	if code.Mount == "" {
		return text
	}
	var b strings.Builder
	for {
		at := strings.Index(text, code.Mount)
		if at < 0 {
			b.WriteString(text)
			return b.String()
		}
		end := at + len(code.Mount)
		b.WriteString(text[:at])
		whole := (end == len(text) || strings.ContainsRune("/:,;\"' ", rune(text[end]))) &&
			(at == 0 || strings.ContainsRune("=:,;\"' ", rune(text[at-1])))
		if whole {
			b.WriteString(code.At)
		} else {
			b.WriteString(code.Mount)
		}
		text = text[end:]
	}
}

func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimRight(dir, "/")+"/")
}

func moved(p, from, to string) string {
	return path.Join(to, strings.TrimPrefix(p, from))
}
