// Command hosting-simulator runs the remote systems that the secrets engine
// manages, on loopback: a Plesk server; Huawei Cloud's IAM, DCS with a Redis port,
// CloudDC and Elastic Cloud Server with SSH ports; Media Temple's API with SSH
// ports and panels. Package bootstrap/simulator describes them and their control
// API.
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

const usage = `hosting-simulator runs, on loopback: a Plesk server; Huawei Cloud's IAM, DCS with a Redis port, CloudDC
and Elastic Cloud Server with an SSH port for each server; Media Temple's API with an SSH port and a Plesk panel for each
service.

Usage:
  hosting-simulator [flags]                              run until interrupted
  hosting-simulator login plesk -url U -username L [-ca-file F]
  hosting-simulator login redis -addr A -username N
  hosting-simulator login ssh -addr A -username N [-host-key K]

Without flags everything gets a free port and random passwords, and the addresses are printed:

  hosting-simulator -out sim.json -ca-file ca.pem

sim.json (mode 0600) then has every address, credential and password. GET / at the control address
tells how to look inside, make things fail and move the clock.

"login" tries a password out. It is read from the environment variable HOSTING_PASSWORD, or else from
standard input. It prints "login works" (exit 0) or "login refused: CODE" (exit 1); if the system could
not be asked, the reason goes to standard error (exit 2).

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process around it. It returns the exit code.
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
		return 2 // the flag package has said what is wrong
	}
	_, _ = fmt.Fprintln(stderr, err) // nowhere else to say it
	return failure
}

// errUsage marks a command line that the flag package has complained about.
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
	flags.StringVar(&config.Redis, "redis", free, "listen `address` of the first DCS instance's Redis; others get free ports")
	flags.StringVar(&config.CloudDC, "clouddc", free, "listen `address` of Huawei Cloud CloudDC (TLS); SSH ports get free ports")
	flags.StringVar(&config.ECS, "ecs", free, "listen `address` of Huawei Cloud Elastic Cloud Server (TLS); SSH ports get free ports")
	flags.StringVar(&config.MediaTemple, "mediatemple", free, "listen `address` of Media Temple's API (TLS); SSH ports and panels get free ports")
	flags.StringVar(&config.RedisServer, "redis-server", "", "`address` of a real Redis server, 6.0 or newer and without a password yet, that gets the accounts of the DCS instance too")
	stateFile := flags.String("state", "", "JSON `file` with the initial accounts, keys and passwords; what is absent is built in. It has the form of -out, and a file that -out wrote will do")
	outFile := flags.String("out", "", "write all addresses, credentials and passwords to this JSON `file` (mode 0600)")
	caFile := flags.String("ca-file", "", "write the CA certificate to this PEM `file`")
	verbose := flags.Bool("verbose", false, "log what clients do wrong on the TLS and HTTP level")
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

// announce writes the files, then tells what listens where: who waits for the
// last line finds the files complete.
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
		return fmt.Errorf("telling the addresses: %w", err)
	}
	return nil
}

// addresses has a line for each address: a name and the address, or, for what
// there is many of, "ssh SYSTEM ID ADDRESS" and "panel ID ADDRESS".
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
		if h.PanelURL != "" {
			fmt.Fprintf(&b, "%-8s %s %s\n", "panel", h.ID, h.PanelURL)
		}
	}
	return b.String()
}

// writeFile replaces a file in one step and with the mode that is asked for,
// whatever an older file had.
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
