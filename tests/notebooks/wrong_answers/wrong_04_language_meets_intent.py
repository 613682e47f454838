"""Answers to the exercises of notebook 04 that are nearly right, and what is wrong with them."""

WRONG = {
    1: [
        # only the last message
        "def prompt_of(messages):\n    return PROMPT.format(text=messages[-1])\n",
        # the opening quote, after which the word would stand, is lost
        "def prompt_of(messages):\n"
        '    return f\'This sentence: "{" ".join(messages)}" means in one word:\'\n',
        "def prompt_of(messages):\n    return PROMPT.format(text=', '.join(messages))\n",
    ],
    2: [
        # right only where the padding is on the left
        "def last_token(mask):\n    return torch.full((len(mask),), mask.shape[1] - 1)\n",
        # right only where the padding is on the right
        "def last_token(mask):\n    return mask.sum(1) - 1\n",
        # the first real token
        "def last_token(mask):\n    return mask.argmax(1)\n",
    ],
    3: [
        # statistics of all rows: the test leaks
        "def standardised(raw, texts, splits):\n    return (raw - raw.mean(0)) / raw.std(0)\n",
        # repeated training texts count twice
        "def standardised(raw, texts, splits):\n"
        "    training = raw[[s == 'train' for s in splits]]\n"
        "    return (raw - training.mean(0)) / training.std(0)\n",
        # centred with the right rows, but not scaled
        "def standardised(raw, texts, splits):\n"
        "    rows = {t: i for i, t in enumerate(texts) if splits[i] == 'train'}\n"
        "    return raw - raw[list(rows.values())].mean(0)\n",
    ],
    4: [
        # repetitions cost
        "def token_bill(texts, words, frame, cached):\n"
        "    return sum(words[t] + frame for t in texts if t not in cached)\n",
        # the frame is paid once only
        "def token_bill(texts, words, frame, cached):\n"
        "    return sum(words[t] for t in set(texts) - cached) + frame\n",
        # the cache is forgotten
        "def token_bill(texts, words, frame, cached):\n"
        "    return sum(words[t] + frame for t in set(texts))\n",
    ],
}
