package registry

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"maps"
	"math"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
)

// generators returns the password rules of each provider and each of its services.
func generators() map[string]password.Rules {
	all := map[string]password.Rules{}
	for _, p := range All() {
		all[p.Name()] = p.Rules(provider.Connection{}, provider.Target{})
		if p.Name() == "ecs" {
			all["ecs api=cloudservers"] = p.Rules(provider.Connection{Settings: provider.Settings{"api": "cloudservers"}}, provider.Target{})
		}
	}
	return all
}

// People paste passwords into files without quoting them. Nothing that reads these files may see another password.
func TestGeneratedPasswordsSurvivePasting(t *testing.T) {
	for name, rules := range generators() {
		t.Run(name, func(t *testing.T) {
			made := make([]string, 100)
			for i := range made {
				var err error
				made[i], err = rules.Generate(rand.Reader)
				require.NoError(t, err)
			}
			for format, read := range map[string]func(*testing.T, []string) []string{
				"URL": readURL, "YAML": readYAML, "ini": readINI, ".env in a shell": readShell, ".env": readEnv, "command line": readArgument,
			} {
				require.Equal(t, made, read(t, made), format)
			}
		})
	}
}

// The readers must notice what breaks a password, or the test above proves nothing.
func TestReadersNoticeBrokenPasswords(t *testing.T) {
	for format, test := range map[string]struct {
		read   func(*testing.T, []string) []string
		broken []string
	}{
		"URL":             {readURL, []string{"a%41b", "a@b", "a/b", "a#b", "a?b", "a:b+c"}},
		"YAML":            {readYAML, []string{"1e10", "true", "null", "~", "0x1F", "a #b", "12345", "@ab", "-", "%ab", "2001-01-01"}},
		"ini":             {readINI, []string{"a;b", "a#b", "a%b", "a$b", `"ab"`, `a\b`, "a~b", "a!b", "a^b", "yes", "null"}},
		".env in a shell": {readShell, []string{"a$b", "a#b#c d", `a\b`, "a'b'", "~", "a*b c", "a;b"}},
		".env":            {readEnv, []string{"a$b", "a#b", `a\b`, "a'b'", `"ab"`}},
		"command line":    {readArgument, []string{"-ab", "@ab"}},
	} {
		for _, broken := range test.broken {
			require.NotEqual(t, []string{broken}, test.read(t, []string{broken}), "%s: %s", format, broken)
		}
	}
}

// readURL reads passwords from the user part of URLs, and from their query. One that a writer of URLs would escape is lost:
// not all readers take the last @ as the end of the user part.
func readURL(_ *testing.T, made []string) []string {
	read := make([]string, len(made))
	for i, value := range made {
		parsed, err := url.Parse("redis://app:" + value + "@cache.example.com:6379/0?password=" + value)
		if err != nil {
			continue
		}
		if p, _ := parsed.User.Password(); p == parsed.Query().Get("password") && parsed.User.String() == "app:"+value {
			read[i] = p
		}
	}
	return read
}

// readYAML reads passwords as plain scalars in a mapping and in both kinds of lists. Only strings count.
func readYAML(_ *testing.T, made []string) []string {
	read := make([]string, len(made))
	for i, value := range made {
		var document struct {
			Mapping any   `yaml:"mapping"`
			Block   []any `yaml:"block"`
			Flow    []any `yaml:"flow"`
		}
		text := "mapping: " + value + "\nblock:\n- " + value + "\nflow: [" + value + "," + value + "]\n"
		if err := yaml.Unmarshal([]byte(text), &document); err != nil {
			continue
		}
		if text, ok := document.Mapping.(string); ok && slices.Equal(document.Block, []any{text}) && slices.Equal(document.Flow, []any{text, text}) {
			read[i] = text
		}
	}
	return read
}

// readINI reads passwords as the strictest of the common readers would. There is no standard, and a value that any of these
// would change is lost: Python's configparser interpolates % and $ and cuts comments at ; and #; PHP's parse_ini_file reads
// quotes, $, and operators, and words as constants; git and systemd read quotes and backslashes.
func readINI(_ *testing.T, made []string) []string {
	read := make([]string, len(made))
	for i, value := range made {
		_, value, _ = strings.Cut("password = "+value, "=")
		value = strings.TrimSpace(value)
		constant := slices.Contains([]string{"null", "none", "yes", "no", "true", "false", "on", "off"}, strings.ToLower(value))
		if constant || strings.ContainsAny(value, `;#%$"'\?{}|&~!()^=`) {
			continue
		}
		read[i] = value
	}
	return read
}

// readShell reads passwords from a file that a shell sources.
func readShell(t *testing.T, made []string) []string {
	t.Helper()
	var script bytes.Buffer
	for _, value := range made {
		fmt.Fprintf(&script, "PASSWORD=%s\nprintf '%%s\\n' \"$PASSWORD\"\n", value)
	}
	file := filepath.Join(t.TempDir(), ".env")
	require.NoError(t, os.WriteFile(file, script.Bytes(), 0o600))
	out, err := exec.CommandContext(t.Context(), "sh", file).Output()
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// readEnv reads passwords as the strictest reader of .env files would. A value that any of these would change is lost: the
// dotenv libraries expand $, cut comments at #, and read quotes and backslashes, as systemd's EnvironmentFile does; docker's
// --env-file takes everything after the = as it is.
func readEnv(_ *testing.T, made []string) []string {
	read := make([]string, len(made))
	for i, value := range made {
		_, value, _ = strings.Cut("PASSWORD="+value, "=")
		if value == strings.TrimSpace(value) && !strings.ContainsAny(value, "$#\"'`\\") {
			read[i] = value
		}
	}
	return read
}

// readArgument reads passwords from an argument of a command: one that begins with - is an option, and one with @ or < is a
// file to many commands.
func readArgument(_ *testing.T, made []string) []string {
	read := make([]string, len(made))
	for i, value := range made {
		if strings.ContainsAny(value[:1], password.Lower+password.Upper) {
			read[i] = value
		}
	}
	return read
}

// A smaller set of characters must not make passwords weaker than in the first release: 124 bits (plesk), 171 (dcs), 121 (ecs)
// and 118 (mediatemple). This bound is the entropy of the characters that are drawn, without that of their order.
func TestGeneratedPasswordsStayStrong(t *testing.T) {
	required := map[string]float64{"plesk": 128, "dcs": 171, "ecs": 128, "ecs api=cloudservers": 128, "mediatemple": 128}
	require.ElementsMatch(t, slices.Collect(maps.Keys(required)), slices.Collect(maps.Keys(generators())))
	for name, rules := range generators() {
		bits, left, all := 0., rules.Recipe.Length, 0
		for _, class := range rules.Recipe.Classes {
			bits += float64(class.Min) * math.Log2(float64(len(class.Characters)))
			left -= class.Min
			all += len(class.Characters)
		}
		bits += float64(left) * math.Log2(float64(all))
		require.GreaterOrEqual(t, bits, required[name], name)
	}
}
