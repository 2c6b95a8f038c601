//go:build plesk_xsd

package plesk

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// xsd returns a function that validates documents with xmllint against Plesk's own
// schemas, https://github.com/michabbb/sdks-plesk-xsd-source . They are not part
// of this project: the environment variable PLESK_XSD_DIR names their directory,
// and scripts/check-packets.sh runs these tests if they are available.
func xsd(t *testing.T) func(schema, document string) error {
	directory := os.Getenv("PLESK_XSD_DIR")
	require.NotEmpty(t, directory, "PLESK_XSD_DIR is not set")
	xmllint, err := exec.LookPath("xmllint")
	require.NoError(t, err)
	return func(schema, document string) error {
		name := filepath.Join(t.TempDir(), "packet.xml")
		require.NoError(t, os.WriteFile(name, []byte(document), 0o600))
		return exec.CommandContext(t.Context(), xmllint, "--nonet", "--noout", "--schema", filepath.Join(directory, schema), name).Run()
	}
}

func TestPacketValidationMatchesPleskSchema(t *testing.T) {
	check := xsd(t)
	// These are valid according to the schema, but refused here: document types,
	// processing instructions and other encodings do not belong in a packet.
	stricter := []string{"document type", "other encoding", "processing instruction", "entity bomb"}
	for _, c := range packets {
		if !slices.Contains(stricter, c.name) {
			assert.Equal(t, c.valid, check("agent_input.xsd", c.packet) == nil, c.name)
		}
	}
}

func TestAnswersMatchPleskSchema(t *testing.T) {
	check := xsd(t)
	key := func(inner string) string { return head + "<packet><secret_key>" + inner + "</secret_key></packet>" }
	server := func(inner string) string { return head + "<packet><server>" + inner + "</server></packet>" }
	for _, packet := range []string{
		protos, server("<get/>"), server("<get><gen_info/></get>"), server("<get_protos/><get><gen_info/></get>"),
		setPassword("ops1", other), setPassword("nobody", other), setPassword("ops1", "weak-password"),
		server("<set><password>" + other + "</password></set>"),
		server("<add-admin-alias><data><login>l</login></data></add-admin-alias>"),
		server("<del-admin-alias><filter><login>ops1</login></filter></del-admin-alias>"),
		key("<create/>"), key("<create><ip_address>x</ip_address></create>"), key("<get_info><filter/></get_info>"),
		key("<get_info><filter><key>x</key><key>the-id</key></filter></get_info>"),
		key("<delete><filter><key>x</key><key>the-id</key></filter></delete>"),
	} {
		require.NoError(t, check("agent_input.xsd", packet), packet)
		for _, flip := range [][2]string{{"pretty", "false"}, {"pretty", "true"}, {"output", `"debug"`}} {
			p := newPanel(t)
			p.flip(flip[0], flip[1])
			body := p.post(packet, as("admin", "admin-pw")...).Body.String()
			require.NoError(t, check("agent_output.xsd", body), body)
		}
	}
	p := newPanel(t)
	for _, refused := range []string{protos + "x", strings.Replace(protos, "<packet>", `<packet version="9">`, 1)} {
		body := p.post(refused, "KEY: the-key").Body.String()
		require.NoError(t, check("agent_output.xsd", body), body)
	}
	body := p.post(protos).Body.String()
	require.NoError(t, check("agent_output.xsd", body), body)
}
