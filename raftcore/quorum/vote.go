package quorum

// Ballot is one voter's answer.
type Ballot uint8

// Ballots. Missing means that the voter has not answered (yet).
const (
	Missing Ballot = iota
	Granted
	Refused
)

// Result is the state of an election.
type Result uint8

// Results. An election is lost once a quorum of grants has become impossible.
const (
	Pending Result = iota
	Won
	Lost
)

// Votes says whether an election is decided by the ballots cast so far.
func (j Joint[ID]) Votes(ballot func(ID) Ballot) Result {
	if len(j.Incoming) == 0 {
		return Lost
	}
	incoming, outgoing := tally(j.Incoming, ballot), tally(j.Outgoing, ballot)
	switch {
	case incoming == Lost || outgoing == Lost:
		return Lost
	case incoming == Won && outgoing == Won:
		return Won
	}
	return Pending
}

func tally[ID comparable](voters []ID, ballot func(ID) Ballot) Result {
	needed := len(voters)/2 + 1
	if len(voters) == 0 {
		needed = 0
	}
	granted, possible := 0, len(voters)
	for _, id := range voters {
		switch ballot(id) {
		case Granted:
			granted++
		case Refused:
			possible--
		}
	}
	switch {
	case granted >= needed:
		return Won
	case possible < needed:
		return Lost
	}
	return Pending
}
