package resp

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rkvdb/rkv/kv"
)

// infoCommands is INFO commandstats: the commands executed on this node.
func (s *Server) infoCommands(*Status, *kv.Stats) (f infoFields) {
	s.eachRow(func(cmd *kv.Command, r *commandRow) {
		if r.calls+r.rejected == 0 {
			return
		}
		per := 0.0
		if r.calls > 0 {
			per = float64(r.usec) / float64(r.calls)
		}
		f.str("cmdstat_"+cmd.Name, fmt.Sprintf("calls=%d,usec=%d,usec_per_call=%.2f,rejected_calls=%d,failed_calls=%d",
			r.calls, r.usec, per, r.rejected, r.failed))
	})
	return f
}

// infoLatency is INFO latencystats: percentiles in microseconds.
func (s *Server) infoLatency(*Status, *kv.Stats) (f infoFields) {
	percentiles := *s.live.percentiles.Load()
	if !s.live.tracking.Load() {
		return nil
	}
	s.eachRow(func(cmd *kv.Command, r *commandRow) {
		if r.latency == nil {
			return
		}
		var parts []string
		for _, p := range percentiles {
			parts = append(parts, fmt.Sprintf("p%s=%d.000", strconv.FormatFloat(p, 'g', -1, 64), r.latency.percentile(p)))
		}
		f.str("latency_percentiles_usec_"+cmd.Name, strings.Join(parts, ","))
	})
	return f
}

// eachRow calls fn for all commands by name. With several loops it shows what they
// published last.
func (s *Server) eachRow(fn func(cmd *kv.Command, r *commandRow)) {
	var mine *tally
	if len(s.tallies) == 1 {
		mine = s.tallies[0] // INFO runs on the only loop
	}
	rows := s.commandRows(mine)
	for _, cmd := range allCommands() {
		for _, c := range append([]*kv.Command{cmd}, cmd.Sub...) {
			fn(c, &rows[c.ID()])
		}
	}
}
