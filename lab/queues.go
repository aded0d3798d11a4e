package lab

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// QueuePassword is the password of the servers of queues.
const QueuePassword = "lab-secret-77"

// Redis starts a Redis in a folder of the test and returns its URL, with the
// password that it asks for.
func Redis(t testing.TB) string {
	t.Helper()
	port := FreePorts(t, 1)[0]
	address := fmt.Sprintf("127.0.0.1:%d", port)
	running(t, exec.Command(RedisServer(t), "--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--dir", t.TempDir(), "--save", "", "--requirepass", QueuePassword), 10*time.Second, func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	})
	return fmt.Sprintf("redis://:%s@%s/0", QueuePassword, address)
}

// Rabbit is a running RabbitMQ with its management API.
type Rabbit struct {
	AMQP       string // URL, with user and password
	Management string // the same for the management API, of the virtual host /
}

// RabbitMQ starts a RabbitMQ in a folder of the test. It takes some 10 s.
func RabbitMQ(t testing.TB) Rabbit {
	t.Helper()
	ports := FreePorts(t, 4)
	return rabbit(t, "127.0.0.1", ports, exec.Command(rabbitServer))
}

// RabbitMQ starts one on the host, at the usual ports, where other hosts reach it.
func (h *Host) RabbitMQ(t testing.TB) Rabbit {
	t.Helper()
	return rabbit(t, h.Addr(), []int{5672, 15672, 4369, 25672}, h.Command(t, rabbitServer))
}

// The script in /usr/sbin would run it as another user, in folders of the machine.
const rabbitServer = "/usr/lib/rabbitmq/bin/rabbitmq-server"

// rabbit starts a server at an address; ports are those of AMQP, the management,
// Erlang's name server and its own.
func rabbit(t testing.TB, address string, ports []int, cmd *exec.Cmd) Rabbit {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"plugins": "[rabbitmq_management].\n",
		"rabbitmq.conf": fmt.Sprintf("listeners.tcp.1 = %[1]s:%[2]d\nmanagement.tcp.ip = %[1]s\nmanagement.tcp.port = %[3]d\nloopback_users = none\ndefault_user = lab\ndefault_pass = %[4]s\n",
			address, ports[0], ports[1], QueuePassword),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names := fmt.Sprintf("ERL_EPMD_PORT=%d", ports[2])
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(
		cmd.Env, "HOME="+dir, "RABBITMQ_NODENAME=lab@localhost", "RABBITMQ_MNESIA_BASE="+dir+"/data", "RABBITMQ_LOG_BASE="+dir+"/log",
		"RABBITMQ_CONFIG_FILE="+dir+"/rabbitmq.conf", "RABBITMQ_ENABLED_PLUGINS_FILE="+dir+"/plugins", "RABBITMQ_PID_FILE="+dir+"/pid",
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", ports[3]), names, "ERL_EPMD_ADDRESS=127.0.0.1",
	)
	management := fmt.Sprintf("%s:%d", address, ports[1])
	endNames(t, cmd.Args, names)
	running(t, cmd, 3*time.Minute, func() error { return managed(management) })
	user := "lab:" + QueuePassword
	return Rabbit{AMQP: fmt.Sprintf("amqp://%s@%s:%d/", user, address, ports[0]), Management: fmt.Sprintf("http://%s@%s/", user, management)}
}

// endNames ends the name server that a RabbitMQ started, where that ran, after its own end: it is a daemon.
func endNames(t testing.TB, server []string, names string) {
	t.Helper()
	t.Cleanup(func() {
		args := append(slices.Clone(server[:len(server)-1]), "epmd", "-kill")
		kill := exec.Command(args[0], args[1:]...)
		kill.Env = append(os.Environ(), names)
		if text, err := kill.CombinedOutput(); err != nil {
			t.Errorf("end epmd: %v: %s", err, text)
		}
	})
}

// managed asks the management API.
func managed(address string) error {
	req, err := http.NewRequest(http.MethodGet, "http://"+address+"/api/overview", http.NoBody)
	if err != nil {
		return err
	}
	req.SetBasicAuth("lab", QueuePassword)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("its management answers %s", res.Status)
	}
	return nil
}

// running starts a server, waits until it is ready, and ends it, with all that it started, after the test.
func running(t testing.TB, cmd *exec.Cmd, limit time.Duration, ready func() error) {
	t.Helper()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	name := filepath.Base(cmd.Path)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v (run `make setup`)", name, err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	if err := poll(limit, ready); err != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		t.Fatalf("%s: %v\n%s", name, err, strings.TrimSpace(log.String()))
	}
}
