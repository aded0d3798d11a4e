package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"svckit/lab"
	"svckit/lab/ground"
	"svckit/lab/setup"
	"svckit/lib/fault"
)

const usage = `usage:
  lab setup                                  install and build what the lab needs
  lab run [--name NAME] [--wait 30m] [--inside] -- COMMAND…
                                             run a command beside an engine of its own
  lab load golang                            inside lab run: make an image with this machine's Go, print its name
  lab tools                                  build what make check needs and print the folder
  lab peers                                  build the DNS servers that make bench compares with, print their programs
  lab fleet [--name fleet] [--hosts 4] [--servers 3] [--zones 2] [--far 0] [--machines [--ansible FOLDER]]
                                             make a fleet of hosts and keep it until Ctrl-C or lab down; an inventory for its machines
  lab on [--name fleet] HOST [COMMAND…]      run a command, or a shell, on a host of it
  lab host [--name fleet] HOST cut|join|kill|start|slow [DELAY]
                                             take out its cable, or its power; bring it back
  lab down [--name fleet]                    end a fleet, and remove what is left of one that was killed
  lab clean                                  remove what killed runs left behind
`

// command runs one subcommand and returns the exit code.
func command(ctx context.Context, args []string) (int, error) {
	say := setup.NewTeller(os.Stderr)
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	if slices.Contains([]string{"setup", "run", "clean", "fleet", "on", "host", "down"}, name) && os.Geteuid() != 0 {
		return int(fault.Failed), fmt.Errorf("%s: the lab makes network namespaces and starts a Docker engine of its own, and that needs root: run the same command with sudo", name)
	}
	switch name {
	case "setup":
		return codeOf(setup.Run(ctx, say))
	case "run":
		return run(ctx, say, args[1:])
	case "load":
		return load(ctx, args[1:])
	case "tools":
		dir, err := setup.Tools(ctx, say)
		if err == nil {
			fmt.Println(dir)
		}
		return codeOf(err)
	case "peers":
		coredns, unbound, err := setup.Peers(ctx, say)
		if err == nil {
			fmt.Printf("COREDNS=%s\nUNBOUND=%s\n", coredns, unbound)
		}
		return codeOf(err)
	case "clean":
		return codeOf(clean(ctx, say))
	case "fleet", "on", "host", "down":
		return fleet(ctx, say, name, args[1:])
	}
	fmt.Fprint(os.Stderr, usage)
	return int(fault.Usage), nil
}

func codeOf(err error) (int, error) {
	if errors.Is(err, ground.ErrHeld) {
		return int(fault.Conflict), err
	}
	return int(fault.KindOf(err)), err
}

func run(ctx context.Context, say *setup.Teller, args []string) (int, error) {
	flags := flag.NewFlagSet("lab run", flag.ContinueOnError)
	name := flags.String("name", "lab", "name of the lab")
	wait := flags.Duration("wait", 0, "how long to wait for a lab of that name to end")
	inside := flags.Bool("inside", false, "run the command in the lab's network")
	if err := flags.Parse(args); err != nil {
		return int(fault.Usage), nil
	}
	place, err := ground.NewPlace(*name)
	if err != nil || flags.NArg() == 0 || strings.Contains(*name, ".") {
		fmt.Fprint(os.Stderr, usage)
		return int(fault.Usage), err
	}
	parts, err := setup.Find()
	if err == nil {
		err = parts.Missing()
	}
	if err != nil {
		return codeOf(err)
	}
	lock, err := acquire(ctx, say, place, strings.Join(flags.Args(), " "), *wait)
	if err != nil {
		return codeOf(err)
	}
	defer leave(say, place, lock)

	start := time.Now()
	say.Line("%s: starting a Docker engine of its own (usually 1 s)", place)
	engine, err := ground.Start(ctx, place, parts.BaseImage())
	if err != nil {
		return codeOf(err)
	}
	say.Line("%s: up in %s; from another terminal: docker -H %s ps", place, time.Since(start).Round(100*time.Millisecond), engine.Host())
	return ground.Run(ctx, place, lock.Cookie, ground.Command{Args: flags.Args(), Inside: *inside, Path: filepath.Dir(parts.Registry), Env: []string{
		ground.ConsulVar + "=" + parts.Consul, ground.BaseVar + "=" + parts.Base,
	}})
}

// acquire takes the lab's name and clears what a killed run of that name left.
func acquire(ctx context.Context, say *setup.Teller, p ground.Place, command string, wait time.Duration) (*ground.Lock, error) {
	lock, err := ground.Acquire(ctx, p.String(), command, wait, func(h ground.Holder) {
		say.Line("%s: waiting for process %d (%s) to end", p, h.PID, h.Command)
	})
	if err != nil {
		return nil, err
	}
	var cookies []string
	if lock.Before != nil {
		cookies = append(cookies, lock.Before.Cookie)
	}
	found, err := ground.Sweep(ctx, p.String(), cookies...)
	if len(found) > 0 {
		say.Line("%s: cleared what an earlier run left: %s", p, strings.Join(found, ", "))
	}
	return lock, err
}

// leave removes the lab whatever has happened, also when ctx has ended or a panic passes through.
func leave(say *setup.Teller, p ground.Place, lock *ground.Lock) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := ground.Sweep(ctx, p.String(), lock.Cookie); err != nil {
		say.Line("%s: %v; the next run will try again, or: lab clean", p, err)
		return
	}
	if err := lock.Release(); err != nil {
		say.Line("%s: %v", p, err)
		return
	}
	say.Line("%s: gone in %s", p, time.Since(start).Round(100*time.Millisecond))
}

// load gives the engine of the lab that this runs in another image.
func load(ctx context.Context, args []string) (int, error) {
	host := os.Getenv(ground.EngineVar)
	switch {
	case len(args) != 1 || args[0] != "golang":
		fmt.Fprint(os.Stderr, usage)
		return int(fault.Usage), nil
	case host == "":
		return int(fault.Usage), errors.New("load image: no lab: call it from the command of lab run")
	}
	err := lab.LoadGo(ctx, host)
	if err == nil {
		fmt.Println(lab.GoImageName)
	}
	return codeOf(err)
}

// clean sweeps every lab that nobody runs.
func clean(ctx context.Context, say *setup.Teller) error {
	labs, err := ground.Labs()
	if err != nil {
		return err
	}
	for _, p := range labs {
		lock, err := acquire(ctx, say, p, "lab clean", 0)
		if errors.Is(err, ground.ErrHeld) {
			say.Line("%s: in use, left alone", p)
			continue
		}
		if err != nil {
			return err
		}
		if err := lock.Release(); err != nil {
			return err
		}
	}
	return nil
}
