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

// ClientVersion is how [SSH] introduces itself to the server.
const ClientVersion = "SSH-2.0-hosting_login"

// SSH logs in at an SSH server with a password and disconnects. hostKey is the
// host key to require, as a line from a known_hosts or authorized_keys file. With
// "" any key is accepted, and whatever server answers at the address receives the
// password. The code of a refusal is "password".
//
// The password is sent once: with the method "password" or, if the server does
// not offer that, as the answer to a single hidden prompt of
// "keyboard-interactive" (RFC 4256). If the server requires more than a password,
// SSH returns an error that is not a [RefusedError].
func SSH(ctx context.Context, address, user, password, hostKey string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	config := &ssh.ClientConfig{User: user, ClientVersion: ClientVersion}
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
		// A second attempt means that the server has refused the first one.
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
	_ = sessions.Wait() // only reports that it was closed
	return nil
}

// checkHostKey makes the connection fail, before the password is sent, if the
// server presents another key.
func checkHostKey(config *ssh.ClientConfig, hostKey string) error {
	if strings.TrimSpace(hostKey) == "" {
		config.HostKeyCallback = ssh.InsecureIgnoreHostKey() //nolint:gosec // the caller has no key to check; SSH documents the risk
		return nil
	}
	// ParseAuthorizedKey takes the host names at the start of a known_hosts line for options.
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(hostKey))
	if err != nil {
		return errors.New("the host key is not a line from a known_hosts or authorized_keys file")
	}
	config.HostKeyCallback = ssh.FixedHostKey(key)
	config.HostKeyAlgorithms = []string{key.Type()} // a server may have keys of several types
	if key.Type() == ssh.KeyAlgoRSA {
		config.HostKeyAlgorithms = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return nil
}

// errMore aborts a login that requires more than the password.
var errMore = errors.New("the server asks for more than a password")

// try sends the password at most once.
type try struct {
	conn     net.Conn
	password string
	asked    []string // the prompts that were answered with the password
	sent     bool
	refused  bool
}

// give is called by the SSH library for each attempt with the method "password".
func (t *try) give() (string, error) {
	switch {
	case t.asked != nil:
		return "", errMore // the server accepted the answer and asks for a password too
	case t.sent:
		return "", t.refuse()
	}
	t.sent = true
	return t.password, nil
}

// refuse closes the connection, so that no other method is counted as a further
// attempt.
func (t *try) refuse() error {
	t.refused = true
	_ = t.conn.Close() // the point is to break it
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
