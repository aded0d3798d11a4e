package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// The flood asks faster than dnsperf can: the questions of a socket leave as one
// packet that the kernel cuts (UDP_SEGMENT), and answers that come as one are
// read as one (UDP_GRO). So the server is at the end of its core, and not the
// generator. It asks every server in the same way.

const (
	floodWindow = 64                     // questions under way for each socket
	floodLost   = 200 * time.Millisecond // an answer that takes longer is lost
)

// flooded is what came back.
type flooded struct {
	Answered int           `json:"answered"` // by records, as many as there are instances
	Wrong    int           `json:"wrong"`
	Lost     int           `json:"lost"`
	Took     time.Duration `json:"took"`
}

// flood runs this program again on core 1, as the generator.
func (g *ground) flood(p peer, length time.Duration) (out flooded, err error) {
	self, err := os.Executable()
	if err != nil {
		return out, err
	}
	cmd := exec.Command(self, "-flood", p.address, "-ask", p.ask, "-seconds", strconv.Itoa(int(length.Seconds())), "-sockets", strconv.Itoa(g.sockets))
	cmd.Env, cmd.Stderr = append(os.Environ(), "GOMAXPROCS=1"), os.Stderr
	pin(cmd, "1")
	text, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("flood: %w", err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, fmt.Errorf("flood said %q: %w", text, err)
	}
	return out, nil
}

// floodFrom floods a server from so many sockets and prints what came back.
func floodFrom(address, name string, length time.Duration, sockets int) error {
	text, err := question(name)
	if err != nil {
		return err
	}
	all, errs := make([]flooded, sockets), make([]error, sockets)
	began := time.Now()
	var wait sync.WaitGroup
	for i := range sockets {
		wait.Go(func() { all[i], errs[i] = floodOne(address, text, began.Add(length)) })
	}
	wait.Wait()
	sum := flooded{Took: time.Since(began)}
	for _, f := range all {
		sum.Answered, sum.Wrong, sum.Lost = sum.Answered+f.Answered, sum.Wrong+f.Wrong, sum.Lost+f.Lost
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(sum)
}

// question asks for the addresses of a name, with EDNS0 as dnsperf -e does.
func question(name string) ([]byte, error) {
	host, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, err
	}
	var edns dnsmessage.ResourceHeader
	err = edns.SetEDNS0(1232, dnsmessage.RCodeSuccess, false)
	m := dnsmessage.Message{
		Header:      dnsmessage.Header{RecursionDesired: true},
		Questions:   []dnsmessage.Question{{Name: host, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		Additionals: []dnsmessage.Resource{{Header: edns, Body: &dnsmessage.OPTResource{}}},
	}
	text, packed := m.Pack()
	return text, errors.Join(err, packed)
}

// floodOne keeps a window of questions under way until the end.
func floodOne(address string, question []byte, end time.Time) (out flooded, err error) {
	c, err := net.Dial("udp", address)
	if err != nil {
		return out, err
	}
	defer c.Close()
	conn := c.(*net.UDPConn)
	if err := takeTogether(conn); err != nil {
		return out, err
	}
	packet, cut := make([]byte, 0, floodWindow*len(question)), segments(len(question))
	for range floodWindow {
		packet = append(packet, question...)
	}
	answers, control := make([]byte, 1<<16), make([]byte, 64)
	for due, id := floodWindow, uint16(0); time.Now().Before(end); {
		for i := range due {
			binary.BigEndian.PutUint16(packet[i*len(question):], id)
			id++
		}
		if _, _, err := conn.WriteMsgUDP(packet[:due*len(question)], cut, nil); err != nil {
			return out, fmt.Errorf("send %d questions: %w", due, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(floodLost)); err != nil {
			return out, err
		}
		n, oobn, _, _, err := conn.ReadMsgUDP(answers, control)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			out.Lost += floodWindow // nothing came for so long: none of them will
			due = floodWindow
			continue
		}
		if err != nil {
			return out, fmt.Errorf("receive answers: %w", err)
		}
		due = out.count(answers[:n], segmentOf(control[:oobn], n))
	}
	return out, nil
}

// count looks at each answer of a packet and returns how many there were.
func (f *flooded) count(text []byte, size int) (n int) {
	for ; len(text) > 0; n++ {
		one := text[:min(size, len(text))]
		text = text[len(one):]
		if len(one) >= 12 && one[3]&0xf == byte(dnsmessage.RCodeSuccess) && binary.BigEndian.Uint16(one[6:]) == instances {
			f.Answered++
		} else {
			f.Wrong++
		}
	}
	return n
}

func takeTogether(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1) })
	return errors.Join(err, failed)
}

// segments is the control message that has the kernel cut a packet into pieces of this size.
func segments(size int) []byte {
	out := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&out[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(out[unix.CmsgLen(0):], uint16(size))
	return out
}

// segmentOf is the size of the pieces that a packet of n bytes was made of.
func segmentOf(control []byte, n int) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return n
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_UDP && m.Header.Type == unix.UDP_GRO && len(m.Data) >= 4 {
			return int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return n
}
