"""Seeds that found something, each with what it found. They run first, for ever."""

FOUND = {
    0: "An owner held a part of an old version for fresh and dealt it again and again: every client was cut off until its time was over.",
    59: "A piece's owner asked a holder with the Via of whoever had asked first; where that was the holder itself, it saw a loop (508).",
    99: "A piece's owner without room for a part said that the upstream had another version, and the swarm gave up.",
    111: "A swarm that loaded a piece itself waited for bytes that only it would have brought, after the upstream had broken off.",
    217: "Gone on with from a second supplier that failed too, a fill gave back the first one's connection only: a slot was lost for ever.",
    255: "A client left before there was a head; the answer, which could not be kept, then waited a quarter of an hour for a reader.",
    284: "An owner passed on a 206 that may not be stored and broke off; the fill went on with the same numbers of the whole: wrong bytes.",
    289: "As 255, with a peer's connection.",
    295: "As 111; a client waited with it.",
    449: "A swarm took a piece for its own that its own load had put into the body that replaced it: readers were cut off.",
    1005: "Where the file system can't tell cached reads, bytes that others had filled in were not read back: honest peers were accused.",
    1082: "As 1005; the accused were off the list.",
    2059: "The gap of a part that could not be kept any more was served for the range asked for: right bytes, but too few.",
    2137: "The simulator's own: a link that had been slow still owed a minute of what it had carried, long after all was healed.",
    3227: "Beside a part without a validator the owner did not see the whole that was on its way, and asked for it a second time.",
    3330: "A node that was killed and came back under a new id left its lease of the upstream with the manager until it ran out.",
    4479: "Of a partial file whose upstream sends no parts, the owner began to send what it had before it asked for the rest.",
    5931: "A part was asked for 1 ms after the whole, whose head was not there yet: it did not wait for it, and was fetched a second time.",
    9066: "The simulator's own: a file that was out of date by its Date before all of it had come was rightly asked for again.",
    9875: "The simulator's own: beside a part without a validator the whole has to come whole; nothing says that they are of one version.",
}
