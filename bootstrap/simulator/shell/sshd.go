package shell

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// FindSSHD returns the path of OpenSSH's sshd for [Doors.SSHD], or an error that
// says why it cannot be used here. It needs root, Linux, and the programs openssl,
// unshare and mount.
func FindSSHD(ctx context.Context) (binary string, err error) {
	binary, err = exec.LookPath("sshd")
	if err != nil {
		binary, err = exec.LookPath("/usr/sbin/sshd") // not in everybody's PATH
	}
	if err != nil {
		return "", errors.New("sshd is not installed")
	}
	return binary, CheckSSHD(ctx, binary)
}

// CheckSSHD reports why an sshd cannot be used here.
func CheckSSHD(ctx context.Context, binary string) error {
	if !filepath.IsAbs(binary) {
		return fmt.Errorf("sshd %q: an absolute path is needed", binary)
	}
	if os.Geteuid() != 0 {
		return errors.New("sshd cannot be used: root is needed, for a private mount namespace")
	}
	for _, program := range []string{binary, "openssl", "unshare", "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("sshd cannot be used: %w", err)
		}
	}
	// Not permitted in most containers.
	if out, err := exec.CommandContext(ctx, "unshare", "-m", "mount", "--bind", "/etc/shadow", "/etc/shadow").CombinedOutput(); err != nil {
		return fmt.Errorf("sshd cannot be used: a private mount namespace is needed: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// isolate runs sshd on standard input and output, as inetd does. $1 is a directory
// with its files, $2 the sshd. It sees no account of this machine, only root with
// the password of the simulated host. What sshd writes to /run and /var/log stays
// in the namespace.
const isolate = `cd "$1"
mount --make-rprivate /
mount --bind passwd /etc/passwd
mount --bind shadow /etc/shadow
[ ! -d /etc/pam.d ] || mount --bind pam.d /etc/pam.d
mount -t tmpfs -o mode=755 none /run
mkdir -m 755 /run/sshd
mount -t tmpfs none /var/log
exec "$2" -i -e -f sshd_config`

const (
	passwdFile = "root:x:0:0::/:/bin/false\nsshd:x:74:65534::/:/bin/false\n"
	pamFile    = "auth required pam_unix.so nodelay\naccount required pam_permit.so\nsession required pam_permit.so\n"
	configFile = `HostKey %[1]s/host_key
PermitRootLogin %[2]s
PasswordAuthentication %[3]s
KbdInteractiveAuthentication %[4]s
UsePAM %[4]s
AuthorizedKeysFile none
DisableForwarding yes
PermitTTY no
PidFile none
LoginGraceTime 30
LogLevel VERBOSE
`
)

// Lines that sshd logs when it has checked a password. One that it asked for by
// keyboard-interactive is checked by PAM.
var refusedLine, acceptedLine = []string{"Failed password for ", "Failed keyboard-interactive/pam for "},
	[]string{"Accepted password for ", "Accepted keyboard-interactive/pam for "}

// runSSHD serves a connection by sshd, with the present switches, host key and
// password. The fault Cut cuts it at once, because only sshd sees the password.
func (p *port) runSSHD(conn net.Conn) {
	defer func() { _ = conn.Close() }() // everything was written
	if turnedAway, cut := p.greet(conn); turnedAway || cut {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(maxConnection)) // a connection that is closed fails below
	directory, err := os.MkdirTemp("", "sshd")
	if err != nil {
		p.note("error", "")
		return
	}
	defer func() { _ = os.RemoveAll(directory) }()
	if p.writeFiles(directory) != nil || p.pipe(conn, directory) != nil {
		p.note("error", "")
	}
}

// writeFiles writes the files of an sshd.
func (p *port) writeFiles(directory string) error {
	yes := map[bool]string{true: "yes", false: "no"}
	settings := p.settings()
	hash := exec.CommandContext(context.Background(), "openssl", "passwd", "-6", "-stdin")
	hash.Stdin = strings.NewReader(p.host.RootPassword() + "\n")
	hashed, err := hash.Output()
	if err != nil {
		return fmt.Errorf("hashing the password: %w", err)
	}
	key, err := gossh.MarshalPrivateKey(p.privateKey(), "")
	if err != nil {
		return fmt.Errorf("encoding the host key: %w", err)
	}
	if err := os.Mkdir(filepath.Join(directory, "pam.d"), 0o755); err != nil { //nolint:gosec // holds no secret
		return err
	}
	for name, content := range map[string]string{
		"passwd": passwdFile, "pam.d/sshd": pamFile, "host_key": string(pem.EncodeToMemory(key)),
		"shadow":      fmt.Sprintf("root:%s:::::::\nsshd:*:::::::\n", bytes.TrimSpace(hashed)),
		"sshd_config": fmt.Sprintf(configFile, directory, settings.rootLogin, yes[settings.offersPassword()], yes[settings.offersQuestions()]),
	} {
		mode := os.FileMode(0o600)
		if name == "passwd" {
			mode = 0o644
		}
		if err := os.WriteFile(filepath.Join(directory, name), []byte(content), mode); err != nil {
			return err
		}
	}
	return nil
}

// pipe connects a client to a new sshd until one of them closes the connection.
func (p *port) pipe(conn net.Conn, directory string) error {
	command := exec.CommandContext(context.Background(), "unshare", "-m", "sh", "-ec", isolate, "sh", directory, p.doors.SSHD) //nolint:gosec // see isolate
	var client atomic.Value
	command.Stdout, command.WaitDelay = conn, 5*time.Second
	command.Stderr = &lines{use: func(line string) {
		switch {
		case hasPrefix(line, refusedLine):
			version, _ := client.Load().(string)
			p.refuse(conn.RemoteAddr(), version)
		case hasPrefix(line, acceptedLine):
			p.note("ok", "")
		}
	}}
	input, err := command.StdinPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		defer func() { _ = input.Close() }() // sshd ends then
		from := bufio.NewReader(conn)
		version, err := from.ReadString('\n') // the first line is the client's version
		client.Store(strings.TrimSpace(version))
		if _, err := io.WriteString(input, version); err != nil {
			return // sshd has ended
		}
		if err == nil {
			_, _ = io.Copy(input, from) // one of them has ended
		}
	}()
	_ = command.Wait() // sshd exits with an error whenever a client leaves early
	_ = conn.Close()   // ends the copying
	<-copied
	return nil
}

func hasPrefix(line string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// lines passes on each line that is written to it.
type lines struct {
	use  func(line string)
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.use(strings.TrimSpace(string(line)))
		l.rest = rest
	}
}
