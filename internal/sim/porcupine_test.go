package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// registerModel is a register per key; porcupine knows nothing of logs and indexes,
// so it judges our own judge (witness.go).
var registerModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(*op).reg
			byKey[key] = append(byKey[key], o)
		}
		var parts [][]porcupine.Operation
		for _, p := range byKey {
			parts = append(parts, p)
		}
		return parts
	},
	Init: func() any { return "_\r\n" },
	Step: func(state, input, output any) (bool, any) {
		if o := input.(*op); o.set != "" {
			return true, o.set
		}
		want := state.(string)
		if !strings.HasSuffix(want, "\n") {
			want += "\r\n"
		}
		return output == nil || strings.HasSuffix(output.(string), want), state
	},
}

func registers(ops []*op, end time.Duration) []porcupine.Operation {
	var history []porcupine.Operation
	for _, o := range ops {
		if o.reg == "" || o.state == opDefinite || o.state != opOK && o.read {
			continue
		}
		x := porcupine.Operation{ClientId: o.client, Input: o, Call: int64(o.start), Return: int64(o.end)}
		if o.state != opOK {
			x.Return = int64(end) // it may still have its effect
		} else if o.read {
			x.Output = string(o.reply)
		}
		history = append(history, x)
	}
	return history
}

func TestPorcupineAgrees(t *testing.T) {
	checked := 0
	for seed := uint64(1); seed <= 8; seed++ {
		r := Run(seed, nil)
		require.NoError(t, r.Err)
		history := registers(r.ops, r.Stats.Virtual)
		checked += len(history)
		require.NotEqual(t, porcupine.Illegal, porcupine.CheckOperationsTimeout(registerModel, history, 10*time.Second), "seed %d", seed)
		if len(history) == 0 {
			continue
		}
		// The judge must be able to say no.
		for i := range history {
			if history[i].Output != nil {
				history[i].Output = "$4\r\nnone\r\n"
				require.Equal(t, porcupine.Illegal, porcupine.CheckOperationsTimeout(registerModel, history, 10*time.Second))
				break
			}
		}
	}
	require.NotZero(t, checked)
}
