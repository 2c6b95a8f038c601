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

// realRedis mirrors the passwords of an instance to a real Redis server, 6.0 or
// newer, so that a login can be checked against real Redis.
//
// Redis has no accounts that log in with a single string. Its default user can
// have several passwords, though, so it gets "name:password" for each account.
// The accounts therefore cannot have different roles.
type realRedis struct {
	address string
	known   map[string]string // by account id: its current single-string password
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
		// Any of the passwords grants access. Try them all: the account's own may have been removed on the server.
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

// run sends one command. Errors never contain its arguments.
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
