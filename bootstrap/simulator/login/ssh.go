package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// SSH logs in at an SSH server with a password and leaves again. hostKey is the
// key that the server has to show, as a line of a known_hosts or authorized_keys
// file; "" means that any key will do: whoever answers at the address then gets
// the password. The code of a refusal is "password".
//
// The password is sent once: as such or, to a server that does not take that,
// as the answer to its only hidden question (RFC 4256). A server that wants more
// than a password is another error.
func SSH(ctx context.Context, address, user, password, hostKey string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	config := &ssh.ClientConfig{User: user}
	if err := checkHostKey(config, hostKey); err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("connecting to the SSH server: %w", err)
	}
	defer func() { _ = conn.Close() }() // nothing was left to write
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	t := &try{conn: conn, password: password}
	config.Auth = []ssh.AuthMethod{
		// A second turn shows that the server has refused the first one.
		ssh.RetryableAuthMethod(ssh.PasswordCallback(t.give), 2),
		ssh.RetryableAuthMethod(ssh.KeyboardInteractive(t.answer), 2),
	}
	client, channels, requests, err := ssh.NewClientConn(conn, address, config)
	switch {
	case t.refused:
		return &RefusedError{Code: "password"}
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("logging in at the SSH server: %w", ctx.Err())
	case err != nil:
		return fmt.Errorf("logging in at the SSH server: %w", err)
	}
	sessions := ssh.NewClient(client, channels, requests)
	_ = sessions.Close()
	_ = sessions.Wait() // the reason is that it was closed
	return nil
}

// checkHostKey makes the connection fail before the password is sent if the
// server shows another key.
func checkHostKey(config *ssh.ClientConfig, hostKey string) error {
	if strings.TrimSpace(hostKey) == "" {
		config.HostKeyCallback = ssh.InsecureIgnoreHostKey() //nolint:gosec // the caller has no key to check, and SSH says what that means
		return nil
	}
	// What precedes the key in known_hosts, the host names, is taken for options.
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(hostKey))
	if err != nil {
		return errors.New("the host key is no line of a known_hosts or authorized_keys file")
	}
	config.HostKeyCallback = ssh.FixedHostKey(key)
	config.HostKeyAlgorithms = []string{key.Type()} // a server may have keys of several types
	if key.Type() == ssh.KeyAlgoRSA {
		config.HostKeyAlgorithms = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return nil
}

// errMore ends a login that takes more than the password.
var errMore = errors.New("the server asks for more than a password")

// try hands the password out once.
type try struct {
	conn     net.Conn
	password string
	asked    []string // the questions that were answered with it
	sent     bool
	refused  bool
}

// give is called by the SSH library for each turn of the method "password".
func (t *try) give() (string, error) {
	switch {
	case t.asked != nil:
		return "", errMore // the answer was right
	case t.sent:
		return "", t.refuse()
	}
	t.sent = true
	return t.password, nil
}

// refuse ends the connection, so that no other method counts as a further try.
func (t *try) refuse() error {
	t.refused = true
	_ = t.conn.Close() // meant to break
	return errMore
}

// answer is called for each round of the method "keyboard-interactive".
func (t *try) answer(_, _ string, questions []string, echos []bool) ([]string, error) {
	switch {
	case len(questions) == 0:
		return nil, nil // a message only
	case t.sent && slices.Equal(t.asked, questions):
		return nil, t.refuse()
	case t.sent || len(questions) > 1 || echos[0]:
		return nil, errMore
	}
	t.sent, t.asked = true, questions
	return []string{t.password}, nil
}
