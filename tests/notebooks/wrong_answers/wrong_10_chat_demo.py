"""Answers to the exercises of notebook 10 that are nearly right, and what is wrong with them."""

WRONG = {
    1: [
        # the ampersand last: it escapes the names of the others
        "def as_text(text):\n"
        '    for c, name in (("<", "&lt;"), (">", "&gt;"), (\'"\', "&quot;"),\n'
        '                    ("\'", "&#x27;"), ("&", "&amp;")):\n'
        "        text = text.replace(c, name)\n"
        "    return text\n",
        # safe between tags, not inside an attribute
        "def as_text(text):\n"
        '    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")\n',
        # an ampersand that looks like a name is left alone
        "def as_text(text):\n    import html\n    return html.escape(html.unescape(text))\n",
    ],
    2: [
        # undo only ever takes back a like
        "def liked_at_the_end(events):\n"
        "    liked = []\n"
        "    for event in events:\n"
        '        if event[0] == "like":\n'
        "            liked.append(event[1])\n"
        '        elif event[0] == "undo" and liked:\n'
        "            liked.pop()\n"
        "    return set(liked)\n",
        # a message does not count as an event
        "def liked_at_the_end(events):\n"
        "    stack = []\n"
        "    for event in events:\n"
        '        if event[0] in ("like", "refuse"):\n'
        "            stack.append(event)\n"
        '        elif event[0] == "undo" and stack:\n'
        "            stack.pop()\n"
        "    last = {film: word for word, film in stack}\n"
        '    return {film for film, word in last.items() if word == "like"}\n',
        # a refusal undone does not bring the like back
        "def liked_at_the_end(events):\n"
        "    liked, done = set(), []\n"
        "    for event in events:\n"
        '        if event[0] == "undo":\n'
        "            if done:\n"
        "                liked.discard(done.pop()[1])\n"
        "            continue\n"
        "        done.append(event)\n"
        '        if event[0] == "like":\n'
        "            liked.add(event[1])\n"
        '        if event[0] == "refuse":\n'
        "            liked.discard(event[1])\n"
        "    return liked\n",
    ],
    3: [
        # each piece is checked alone: a word cut in two passes
        "def streamed(pieces, forbidden):\n"
        '    shown = ""\n'
        "    for piece in pieces:\n"
        "        if any(word in piece for word in forbidden):\n"
        "            return shown\n"
        "        shown += piece\n"
        "    return shown\n",
        # it goes on after the forbidden sentence
        "def streamed(pieces, forbidden):\n"
        '    *complete, _ = "".join(pieces).split(".")\n'
        "    fine = [s for s in complete if not any(word in s for word in forbidden)]\n"
        '    return "".join(s + "." for s in fine)\n',
        # an unfinished sentence is shown
        "def streamed(pieces, forbidden):\n"
        '    shown = ""\n'
        '    for sentence in "".join(pieces).split("."):\n'
        "        if any(word in sentence for word in forbidden):\n"
        "            return shown\n"
        '        shown += sentence + "."\n'
        "    return shown\n",
    ],
    4: [
        # measured from the piece before
        "def updates(times, gap):\n"
        "    pairs = zip([None, *times], times)\n"
        "    shown = [t for before, t in pairs if before is None or t - before >= gap]\n"
        "    return shown if shown[-1:] == times[-1:] else [*shown, *times[-1:]]\n",
        # the last piece may be lost
        "def updates(times, gap):\n"
        "    shown = []\n"
        "    for time in times:\n"
        "        if not shown or time - shown[-1] >= gap:\n"
        "            shown.append(time)\n"
        "    return shown\n",
        # more than the gap, not at least
        "def updates(times, gap):\n"
        "    shown = []\n"
        "    for place, time in enumerate(times):\n"
        "        if not shown or place == len(times) - 1 or time - shown[-1] > gap:\n"
        "            shown.append(time)\n"
        "    return shown\n",
    ],
}
