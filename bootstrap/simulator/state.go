package simulator

import (
	"errors"
	"fmt"

	"vault-plugin-secrets-hosting/bootstrap/simulator/dcs"
	"vault-plugin-secrets-hosting/bootstrap/simulator/ecs"
	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/mediatemple"
	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
)

// State is the initial state of the systems; nil means the default state of a
// system. It holds every secret of the simulator.
type State struct {
	Plesk       *plesk.State       `json:"plesk,omitempty"`
	HuaweiCloud *huaweicloud.State `json:"huaweicloud,omitempty"`
	DCS         *dcs.State         `json:"dcs,omitempty"`
	ECS         *ecs.State         `json:"ecs,omitempty"`
	MediaTemple *mediatemple.State `json:"mediatemple,omitempty"`
}

// DefaultState returns the default state with random secrets.
func DefaultState() State {
	return State{}.withDefaults()
}

// ReadState reads a state from JSON in the format of [Output]. It ignores
// addresses, so that the output of one run can be the input of the next. Systems
// that are missing get their default state. Unknown fields are an error.
func ReadState(data []byte) (State, error) {
	var in Output
	if err := lab.DecodeStrict(data, &in); err != nil {
		return State{}, fmt.Errorf("initial state: %w", err)
	}
	var s State
	if p := in.Plesk.State; p.AdminPassword != "" || p.SecretKeys != nil || p.Aliases != nil {
		s.Plesk = &p
	}
	if h := in.HuaweiCloud.State; h.DomainName != "" || h.Projects != nil || h.Users != nil || h.AccessKeys != nil {
		s.HuaweiCloud = &h
	}
	if in.DCS.Instances != nil {
		s.DCS = &dcs.State{}
		for _, i := range in.DCS.Instances {
			s.DCS.Instances = append(s.DCS.Instances, i.Instance)
		}
	}
	if e := in.ECS.State; e.Instances != nil || e.CloudServers != nil {
		s.ECS = &e
	}
	if m := in.MediaTemple.State; m.Accounts != nil {
		s.MediaTemple = &m
	}
	if s.HuaweiCloud != nil && len(s.HuaweiCloud.Projects) == 0 {
		return State{}, errors.New("initial state: huaweicloud needs a project")
	}
	return s.withDefaults(), nil
}

func (s State) withDefaults() State {
	if s.Plesk == nil {
		state := plesk.DefaultState()
		s.Plesk = &state
	}
	if s.HuaweiCloud == nil {
		state := huaweicloud.DefaultState()
		s.HuaweiCloud = &state
	}
	if s.DCS == nil {
		state := dcs.DefaultState(s.HuaweiCloud.Projects[0].ID)
		s.DCS = &state
	}
	if s.ECS == nil {
		state := ecs.DefaultState(s.HuaweiCloud.Projects[0].ID)
		s.ECS = &state
	}
	if s.MediaTemple == nil {
		state := mediatemple.DefaultState()
		s.MediaTemple = &state
	}
	return s
}

// Output describes a running simulator for its users: all addresses, and the
// initial credentials and passwords.
type Output struct {
	ControlURL string `json:"control_url"`
	CAFile     string `json:"ca_file,omitempty"`
	CAPEM      string `json:"ca_pem"`

	Plesk struct {
		URL string `json:"url"`
		plesk.State
	} `json:"plesk"`
	HuaweiCloud struct {
		IAMURL string `json:"iam_url"`
		huaweicloud.State
	} `json:"huaweicloud"`
	DCS struct {
		URL       string           `json:"url"`
		Instances []OutputInstance `json:"instances"`
	} `json:"dcs"`
	ECS struct {
		CloudDCURL string `json:"clouddc_url"`
		URL        string `json:"url"`
		ecs.State
	} `json:"ecs"`
	MediaTemple struct {
		URL string `json:"url"`
		mediatemple.State
	} `json:"mediatemple"`
	Hosts        []Host `json:"hosts"`
	RedirectTrap struct {
		URL string `json:"url"`
	} `json:"redirect_trap"`
}

// OutputInstance is an instance with the address of its Redis port.
type OutputInstance struct {
	dcs.Instance
	RedisAddress string `json:"redis_address"`
}
