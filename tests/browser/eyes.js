/* What the tests of the browser see of a page with the chat. */
const eyes = {
  focus() {
    const e = document.activeElement, style = getComputedStyle(e);
    const labels = [...(e.labels || [])].map(label => label.innerText.trim()).filter(Boolean);
    const said = e.getAttribute("aria-label") || labels.join(" ") || e.innerText || e.title || "";
    const name = e === document.body ? "" : said;
    const card = e.closest(".lcrs-card"), box = e.getBoundingClientRect();
    const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    return {
      name: name.trim().split("\n")[0],
      tag: e.tagName.toLowerCase(),
      film: card ? card.querySelector(".lcrs-title").innerText : null,
      in_chat: Boolean(e.closest(".lcrs")),
      ring: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
      in_sight: Boolean(at) && (e.contains(at) || at.contains(e)),
    };
  },

  // Texts with too little contrast. Colours are read through a canvas, which knows every notation
  // that a style sheet may hold.
  tooPale() {
    const pen = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const rgba = colour => {
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = colour;
      pen.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
      return [r, g, b, a / 255];
    };
    const over = (top, below, alpha) => below.map((c, i) => top[i] * alpha + c * (1 - alpha));
    const luminance = colour => colour
      .map(c => c / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
      .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (one, other) => {
      const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
      return (high + 0.05) / (low + 0.05);
    };
    // What stands behind an element, and the same with a text of this colour on it.
    const seen = (element, colour) => {
      const path = [];
      for (let e = element; e; e = e.parentElement) path.unshift(getComputedStyle(e));
      let below = [255, 255, 255], text = below;
      path.forEach((style, i) => {
        const share = path.slice(0, i + 1).reduce((all, s) => all * parseFloat(s.opacity), 1);
        const paper = rgba(style.backgroundColor);
        below = over(paper, below, paper[3] * share);
        text = i === path.length - 1 ? over(colour, below, colour[3] * share) : below;
      });
      return contrast(text, below);
    };
    const found = [];
    const judge = (element, colour, words) => {
      if (!words.trim()) return;
      const value = seen(element, rgba(colour));
      if (value < 4.5) found.push(`${value.toFixed(2)} ${words.trim().slice(0, 40)}`);
    };
    const walker = document.createTreeWalker(document.querySelector(".lcrs"), NodeFilter.SHOW_TEXT);
    for (let node; (node = walker.nextNode());) {
      const element = node.parentElement;
      const shown = element.checkVisibility({opacityProperty: true, visibilityProperty: true});
      if (!shown || element.closest("style, option")) continue;
      judge(element, getComputedStyle(element).color, node.data);
    }
    for (const input of document.querySelectorAll(".lcrs :is(input, textarea)")) {
      judge(input, getComputedStyle(input).color, input.value);
      judge(input, getComputedStyle(input, "::placeholder").color, input.placeholder);
    }
    return found;
  },

  outOfSight() {
    const all = selector => [...document.querySelectorAll(selector)];
    const seen = e => {
      const {x, y, width, height, right, bottom} = e.getBoundingClientRect();
      const at = document.elementFromPoint(x + width / 2, y + height / 2);
      const inside = x >= 0 && y >= 0 && right <= innerWidth && bottom <= innerHeight;
      return inside && e.contains(at);
    };
    const must = [...all(".lcrs-compose textarea, .lcrs-send"), ...all(".lcrs-me").slice(-1)];
    const wide = e => e === document.documentElement
      ? e.scrollWidth > innerWidth : e.getBoundingClientRect().right > innerWidth + 0.5;
    const inner = e => !e.closest(".lcrs-title-line p, .lcrs-profile"); // cut by dots
    const found = [document.documentElement, ...all(".lcrs *").filter(inner)].filter(wide);
    return [...must.filter(e => !seen(e)), ...found].map(e => e.className || e.tagName);
  },

  tooSmall(pixels) {
    return [...document.querySelectorAll(".lcrs :is(button, input, textarea, summary)")]
      .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < pixels)
      .map(e => e.innerText || e.className);
  },
};
