package sim

import (
	"time"
)

// scenario is a scripted opening: what needs so many coincidences that draws alone
// hardly ever bring it about. A share of the seeds plays one before their own faults
// begin; all checks go on meanwhile. A new one is a row of scenarios and a function in
// a file of its own (scenario_*.go).
type scenario struct {
	name string
	// set changes what was drawn where the play needs it; nil if nothing.
	set func(o *options)
	// play is called when a leader is elected and the clients are at work. It lets
	// time pass with until, and may end early: what it wants may not come about.
	play func(w *world)
}

// scenarios are drawn from evenly.
var scenarios []scenario

func init() {
	scenarios = []scenario{
		{"answer to the process before", quickFive, staged((*stage).answerToThePast)},
		{"deposed leader asked for reads", quick, staged((*stage).deposed)},
		{"longest log in an older term", quickThree, staged((*stage).longestLogLags)},
		{"uneven clocks", quickThree, staged((*stage).unevenClocks)},
		{"figure 8", shortMessages, staged((*stage).figureEight)},
		{"unheard campaign", quick, staged((*stage).unheardCampaign)},
		{"deaf campaigner", quickThree, staged((*stage).deafCampaigner)},
		{"voter unaware of its vote", quick, staged((*stage).unawareVoter)},
		{"leader removes itself", quick, early((*stage).leaderLeaves)},
		{"emptied voter", quickThree, staged((*stage).emptiedVoter)},
		{"overtaken stream", bySnapshots, staged((*stage).overtakenStream)},
		{"divergent tail", bySnapshots, staged((*stage).divergentTail)},
		{"late local snapshot", bySnapshots, staged((*stage).lateLocalSnapshot)},
		{"overwritten on its way to the disk", quickThree, staged((*stage).overwrittenUnsaved)},
		{"narrow line", narrowLine, staged((*stage).bulkUnderWay)},
		{"crash after compaction", tinySegments, staged((*stage).crashAfterCompaction)},
	}
}

// scenarioShare is the chance of a seed to open with a scenario.
const scenarioShare = 0.4

// drawScenario draws the seed's opening, or takes the one asked for.
func (w *world) drawScenario(name string) {
	if len(scenarios) == 0 {
		return
	}
	s := &scenarios[w.rng.IntN(len(scenarios))]
	drawn := w.chance(scenarioShare)
	for i := range scenarios {
		if scenarios[i].name == name {
			s, drawn = &scenarios[i], true
		}
	}
	if !drawn {
		return
	}
	w.opening = s
	if s.set != nil {
		s.set(&w.opt)
	}
}

// open plays the seed's scenario, if it has one.
func (w *world) open() {
	if w.opening == nil {
		return
	}
	w.say("scenario: %s", w.opening.name)
	w.stats.Openings[w.opening.name]++
	w.opening.play(w)
	w.say("scenario ends")
}

// until lets time pass, at most d of it, and reports whether cond came true. cond is
// asked after every event.
func (w *world) until(d time.Duration, cond func() bool) bool {
	for end := w.now + d; !cond(); {
		if !w.step(end) {
			w.now = max(w.now, end)
			return cond()
		}
	}
	return true
}
