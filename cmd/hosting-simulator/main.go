// Command hosting-simulator simulates, on loopback, the remote systems that the
// secrets engine supports: a Plesk server; Huawei Cloud's IAM, DCS with Redis
// ports, CloudDC and Elastic Cloud Server with SSH ports; and Media Temple's API
// with SSH ports and Plesk panels. Package bootstrap/simulator describes them
// and the control API.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
)

const usage = `hosting-simulator simulates the remote systems that vault-plugin-secrets-hosting supports. By default they
listen on loopback:

  - Plesk: the XML API of a server
  - Huawei Cloud: IAM; DCS, with a Redis port for each instance; CloudDC and Elastic Cloud Server, with an SSH
    port for each server
  - Media Temple: the API, with an SSH port and a Plesk panel for each service

Usage:
  hosting-simulator [flags]                                      run until interrupted
  hosting-simulator login plesk -url URL -username NAME [-ca-file FILE]
  hosting-simulator login redis -addr ADDRESS -username NAME
  hosting-simulator login ssh -addr ADDRESS -username NAME [-host-key KEY]

By default the simulator picks free ports and random passwords. It prints the addresses, and then "ready".
To save the addresses, credentials and passwords to a file (mode 0600), and the CA certificate to another:

  hosting-simulator -out sim.json -ca-file ca.pem

The control API lets you inspect state, inject faults and advance the clock. GET / at the control address
describes it.

"login" checks whether a password works. It reads the password from the environment variable
HOSTING_PASSWORD or, if that is not set, from standard input. It prints "login works" (exit code 0) or
"login refused: CODE" (exit code 1). If it gets no answer from the system, it prints the reason to standard
error (exit code 2).

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run implements main and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	failure := 1
	var err error
	if len(args) > 0 && args[0] == "login" {
		failure = 2 // 1 is for a refused login
		err = runLogin(ctx, args[1:], stdin, stdout, stderr)
	} else {
		err = runSimulator(ctx, args, stdout, stderr)
	}
	var refused *login.RefusedError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &refused):
		_, _ = fmt.Fprintln(stdout, err) // an answer, not a failure
		return 1
	case errors.Is(err, errUsage):
		return 2 // the flag package has printed the reason
	}
	_, _ = fmt.Fprintln(stderr, err) // nowhere else to report a failure
	return failure
}

// errUsage is returned for a bad command line that the flag package has already
// reported.
var errUsage = errors.New("usage")

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see hosting-simulator -help", flags.Arg(0))
	}
	return nil
}

func runSimulator(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var config simulator.Config
	flags := flag.NewFlagSet("hosting-simulator", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = io.WriteString(stderr, usage)
		flags.PrintDefaults()
	}
	const free = "127.0.0.1:0"
	flags.StringVar(&config.Control, "control", free, "listen `address` of the control API (plain HTTP)")
	flags.StringVar(&config.Plesk, "plesk", free, "listen `address` of the Plesk XML API (TLS)")
	flags.StringVar(&config.IAM, "iam", free, "listen `address` of Huawei Cloud IAM (TLS)")
	flags.StringVar(&config.DCS, "dcs", free, "listen `address` of Huawei Cloud DCS (TLS)")
	flags.StringVar(&config.Redis, "redis", free, "listen `address` of the Redis port of the first DCS instance; other instances use free ports")
	flags.StringVar(&config.CloudDC, "clouddc", free, "listen `address` of Huawei Cloud CloudDC (TLS); SSH servers use free ports")
	flags.StringVar(&config.ECS, "ecs", free, "listen `address` of Huawei Cloud Elastic Cloud Server (TLS); SSH servers use free ports")
	flags.StringVar(&config.MediaTemple, "mediatemple", free, "listen `address` of Media Temple's API (TLS); SSH servers and panels use free ports")
	flags.StringVar(&config.RedisServer, "redis-server", "", "`address` of a real Redis server (6.0 or newer, no password set) on which to mirror the accounts of the DCS instance")
	flags.StringVar(&config.SSHD, "sshd", "", "absolute `path` of OpenSSH's sshd, to serve logins as root with it instead of the simulated SSH server (needs Linux, root, unshare and openssl; sees no account of this machine)")
	stateFile := flags.String("state", "", "read the initial accounts, keys and passwords from this JSON `file`, such as one written by -out; systems that it omits get their defaults")
	outFile := flags.String("out", "", "write all addresses, credentials and passwords to this JSON `file` (mode 0600)")
	caFile := flags.String("ca-file", "", "write the CA certificate to this PEM `file`")
	verbose := flags.Bool("verbose", false, "log clients' TLS and HTTP protocol errors")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *verbose {
		config.Logger = hclog.New(&hclog.LoggerOptions{Name: "simulator", Level: hclog.Debug, Output: stderr})
	}
	if *stateFile != "" {
		data, err := os.ReadFile(*stateFile)
		if err != nil {
			return fmt.Errorf("reading the initial state: %w", err)
		}
		if config.State, err = simulator.ReadState(data); err != nil {
			return err
		}
	}
	s, err := simulator.Start(ctx, config)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := announce(s, *outFile, *caFile, stdout); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// announce writes the files, then prints the addresses and "ready". When a
// caller sees that last line, the files are complete.
func announce(s *simulator.Simulator, outFile, caFile string, stdout io.Writer) error {
	if caFile != "" {
		if err := writeFile(caFile, s.CAPEM(), 0o644); err != nil {
			return fmt.Errorf("writing the CA certificate: %w", err)
		}
	}
	if outFile != "" {
		output := s.Output()
		output.CAFile = caFile
		data, err := json.MarshalIndent(output, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding the addresses: %w", err)
		}
		if err := writeFile(outFile, append(data, '\n'), 0o600); err != nil {
			return fmt.Errorf("writing the addresses: %w", err)
		}
	}
	if _, err := io.WriteString(stdout, addresses(s)+"ready\n"); err != nil {
		return fmt.Errorf("printing the addresses: %w", err)
	}
	return nil
}

// addresses lists all addresses, one per line: "NAME ADDRESS", and for each server
// "ssh SYSTEM ID ADDRESS", "hostkey ID KEY", with its fingerprint as a comment, and
// "panel ID ADDRESS".
func addresses(s *simulator.Simulator) string {
	var b strings.Builder
	for _, a := range [][2]string{
		{"plesk", s.PleskURL()}, {"iam", s.IAMURL()}, {"dcs", s.DCSURL()}, {"redis", s.RedisAddress()}, {"control", s.ControlURL()},
		{"clouddc", s.CloudDCURL()}, {"ecs", s.ECSURL()}, {"mediatemple", s.MediaTempleURL()},
	} {
		fmt.Fprintf(&b, "%-8s %s\n", a[0], a[1])
	}
	for _, h := range s.Hosts() {
		fmt.Fprintf(&b, "%-8s %s %s %s\n", "ssh", h.System, h.ID, h.SSHAddress)
		fmt.Fprintf(&b, "%-8s %s %s %s\n", "hostkey", h.ID, h.HostKey, h.Fingerprint)
		if h.PanelURL != "" {
			fmt.Fprintf(&b, "%-8s %s %s\n", "panel", h.ID, h.PanelURL)
		}
	}
	return b.String()
}

// writeFile replaces a file atomically. The new file has the given mode,
// regardless of the mode of the old one.
func writeFile(name string, data []byte, mode os.FileMode) error {
	temporary := name + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(temporary, data, mode); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}
