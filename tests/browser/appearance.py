"""Can it be read? Contrast as WCAG 2.2 asks (success criterion 1.4.3), and nothing off the edge."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Colours are read through a canvas, which knows every notation that a style sheet may hold.
_TOO_PALE = """() => {
  const pen = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below, alpha) =>
    below.map((c, i) => top[i] * alpha + c * (1 - alpha));
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
  for (const input of document.querySelectorAll(".lcrs input")) {
    judge(input, getComputedStyle(input).color, input.value);
    judge(input, getComputedStyle(input, "::placeholder").color, input.placeholder);
  }
  return found;
}"""


def too_pale(page: "Page") -> list[str]:
    """Texts of the chat with less than 4.5 : 1 between letters and ground, with the ratio."""
    return page.evaluate(_TOO_PALE)


def sideways(page: "Page") -> list[str]:
    """What reaches out of the window to the right, the page itself included."""
    return page.evaluate(
        """() => [document.documentElement, ...document.querySelectorAll(".lcrs *")]
          .filter(e => e === document.documentElement
            ? e.scrollWidth > innerWidth : e.getBoundingClientRect().right > innerWidth + 0.5)
          .map(e => e.className || e.tagName)"""
    )
