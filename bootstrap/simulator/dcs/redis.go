package dcs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
)

// realRedis is a Redis server, 6.0 or newer, that gets the passwords of an
// instance too, so that a login can be tried out on the real software.
//
// Redis has no accounts that log in with one string. The default user can have
// many passwords, though: it gets "name:password" for each account. What it
// cannot do is give each of them a role of its own.
type realRedis struct {
	address string
	known   map[string]string // account id → its present one-string password
}

func newRealRedis(address string) *realRedis {
	return &realRedis{address: address, known: map[string]string{}}
}

// set adds the new password and removes the old one, in one command.
func (r *realRedis) set(ctx context.Context, a *account, password string) error {
	secret := password
	if a.Type == "normal" {
		secret = a.Name + ":" + password
	}
	words := []string{"ACL", "SETUSER", "default", "on", ">" + secret}
	old, had := r.known[a.ID]
	if had && old != secret {
		words = append(words, "<"+old)
	}
	var err error
	if len(r.known) == 0 {
		words = []string{"ACL", "SETUSER", "default", "on", "resetpass", ">" + secret}
		err = r.run(ctx, "", words)
	} else {
		// Any password that the server knows opens it; the account's own may have been removed behind our back.
		for _, known := range r.known {
			if err = r.run(ctx, known, words); err == nil {
				break
			}
		}
	}
	if err != nil {
		return err
	}
	r.known[a.ID] = secret
	return nil
}

// run sends one command. Errors never quote it.
func (r *realRedis) run(ctx context.Context, secret string, words []string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.address)
	if err != nil {
		return fmt.Errorf("connecting to the real Redis: %w", err)
	}
	defer func() { _ = conn.Close() }() // nothing was left to write
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("connecting to the real Redis: %w", err)
		}
	}
	answers := bufio.NewReader(conn)
	commands := [][]string{words}
	if secret != "" {
		commands = [][]string{{"AUTH", secret}, words}
	}
	for _, c := range commands {
		if _, err := io.WriteString(conn, login.Command(c...)); err != nil {
			return fmt.Errorf("asking the real Redis: %w", err)
		}
		line, err := answers.ReadString('\n')
		if err != nil {
			return fmt.Errorf("asking the real Redis: %w", err)
		}
		if !strings.HasPrefix(line, "+OK") {
			return errors.New("the real Redis refused " + c[0])
		}
	}
	return nil
}
