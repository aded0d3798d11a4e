package ground

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// Serve does to hosts what Tell asks for, one after the other, until ctx ends. Daemons live no longer than the process
// that started them, so it is that process which has to start them again.
func (f *Fleet) Serve(ctx context.Context) error {
	l, err := net.Listen("unix", controlSocket(f.lab))
	if err != nil {
		return fmt.Errorf("control fleet: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("control fleet: %w", err)
		}
		f.answer(ctx, conn)
	}
}

func controlSocket(lab Place) string { return lab.Run() + "/control.sock" }

// answer reads one line of words and says "ok", or what is wrong.
func (f *Fleet) answer(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	line, err := bufio.NewReaderSize(conn, 1024).ReadSlice('\n')
	if err == nil {
		err = f.do(ctx, strings.Fields(string(line)))
	}
	said := "ok"
	if err != nil {
		said = err.Error()
	}
	fmt.Fprintln(conn, strings.ReplaceAll(said, "\n", " "))
}

// do does what the words say: HOST cut|join|kill|start, HOST slow DELAY.
func (f *Fleet) do(ctx context.Context, words []string) error {
	if len(words) < 2 {
		return errors.New("want a host and cut, join, kill, start or slow")
	}
	i := slices.IndexFunc(f.All(), func(h *Host) bool { return h.Name == words[0] })
	if i < 0 {
		return fmt.Errorf("no host %s in the fleet", words[0])
	}
	h := f.All()[i]
	switch {
	case words[1] == "slow" && len(words) == 3:
		delay, err := time.ParseDuration(words[2])
		if err != nil {
			return err
		}
		return h.Slow(ctx, delay)
	case len(words) > 2:
	case words[1] == "cut":
		return h.CutOff(ctx)
	case words[1] == "join":
		return h.Rejoin(ctx)
	case words[1] == "kill":
		return h.Kill(ctx)
	case words[1] == "start":
		return h.Start(ctx)
	}
	return fmt.Errorf("%s: want cut, join, kill, start or slow DELAY", strings.Join(words[1:], " "))
}

// Tell asks the process that serves a lab's fleet to do something to a host, and waits until it is done.
func Tell(ctx context.Context, lab Place, words []string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", controlSocket(lab))
	if err != nil {
		return fmt.Errorf("control fleet: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := fmt.Fprintln(conn, strings.Join(words, " ")); err != nil {
		return fmt.Errorf("control fleet: %w", err)
	}
	said, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("control fleet: %w", err)
	}
	if said = strings.TrimSpace(said); said != "ok" {
		return errors.New(said)
	}
	return nil
}

// FindHost finds a host of a lab's first fleet by its name, good for Inside, Env and Command alone.
func FindHost(lab Place, name string) (*Host, error) {
	p, err := NewPlace(lab.String() + ".f0" + strings.ReplaceAll(name, "-", ""))
	if err == nil {
		_, err = os.Stat(p.Namespace())
	}
	if err != nil {
		return nil, fmt.Errorf("find host %s: %w", name, err)
	}
	_, noEngine := os.Stat(p.Run() + "/daemon.json")
	h := &Host{Place: p, Name: name, wantsEngine: noEngine == nil}
	if text, err := os.ReadFile(p.pidFile()); err == nil {
		h.boots, h.machine = true, &machine{}
		if _, err := fmt.Sscan(string(text), &h.machine.pid); err != nil {
			return nil, fmt.Errorf("find host %s: %w", name, err)
		}
	}
	return h, nil
}
