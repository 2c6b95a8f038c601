package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
)

// passwordVariable is the environment variable with the password. There is no
// flag for it: every user of the machine can read command lines.
const passwordVariable = "HOSTING_PASSWORD"

// runLogin checks whether a password logs in.
func runLogin(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	kind := ""
	if len(args) > 0 {
		kind = args[0]
	}
	switch kind {
	case "plesk":
		flags := loginFlags("plesk", stderr)
		url := flags.String("url", "", "address of the Plesk server, `https://host:port`")
		name := flags.String("username", "", "`login` of the administrator")
		caFile := flags.String("ca-file", "", "PEM `file` with the CA to trust (default: the system's CAs)")
		if err := parse(flags, args[1:]); err != nil {
			return err
		}
		if *url == "" || *name == "" {
			return errors.New("login plesk needs -url and -username")
		}
		ca, err := readCA(*caFile)
		if err != nil {
			return err
		}
		return try(stdin, stdout, func(password string) error { return login.Plesk(ctx, *url, ca, *name, password) })
	case "redis":
		flags := loginFlags("redis", stderr)
		address := flags.String("addr", "", "`host:port` of the Redis server")
		name := flags.String("username", "", "`name` of the ACL account (\"default\" for the default account)")
		caFile := flags.String("ca-file", "", "log in over TLS and trust the CA in this PEM `file` (default: no TLS)")
		if err := parse(flags, args[1:]); err != nil {
			return err
		}
		if *address == "" || *name == "" {
			return errors.New("login redis needs -addr and -username")
		}
		if *caFile == "" {
			return try(stdin, stdout, func(password string) error { return login.Redis(ctx, *address, *name, password) })
		}
		ca, err := readCA(*caFile)
		if err != nil {
			return err
		}
		return try(stdin, stdout, func(password string) error { return login.RedisTLS(ctx, *address, ca, *name, password) })
	case "ssh":
		flags := loginFlags("ssh", stderr)
		address := flags.String("addr", "", "`host:port` of the SSH server")
		name := flags.String("username", "", "`name` of the user")
		hostKey := flags.String("host-key", "", "host `key` to require, as a line from a known_hosts or authorized_keys file (default: accept any)")
		if err := parse(flags, args[1:]); err != nil {
			return err
		}
		if *address == "" || *name == "" {
			return errors.New("login ssh needs -addr and -username")
		}
		return try(stdin, stdout, func(password string) error { return login.SSH(ctx, *address, *name, password, *hostKey) })
	}
	return errors.New("specify where to log in: hosting-simulator login plesk, login redis or login ssh; see hosting-simulator -help")
}

// readCA returns the content of the file, or nil if name is "".
func readCA(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	ca, err := os.ReadFile(name) //nolint:gosec // a file of the user who runs the command
	if err != nil {
		return nil, fmt.Errorf("reading the CA certificate: %w", err)
	}
	return ca, nil
}

func loginFlags(kind string, stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet("hosting-simulator login "+kind, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = fmt.Fprintf(stderr, "Usage: hosting-simulator login %s [flags]\n\nReads the password from %s or, if that is not set, from standard input.\n\n", kind, passwordVariable)
		flags.PrintDefaults()
	}
	return flags
}

// try reads the password and logs in with it. A refused login is an error too,
// which run distinguishes from the others.
func try(stdin io.Reader, stdout io.Writer, logIn func(password string) error) error {
	password, set := os.LookupEnv(passwordVariable)
	if !set {
		line, err := bufio.NewReader(stdin).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the password: %w", err)
		}
		password = strings.TrimRight(line, "\r\n")
	}
	if password == "" {
		return fmt.Errorf("no password: set %s or write it to standard input", passwordVariable)
	}
	if err := logIn(password); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, "login works"); err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	return nil
}
