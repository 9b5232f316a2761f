// What the dashboard's charts do not use of uPlot: other kinds of lines, calendars and logarithmic scales. An edit
// that does not fit exactly once ends `make vendor`: a new version of uPlot needs a new look.
import { readFile } from "node:fs/promises"

const EDITS = [
    ...["join = join;", "fmtDate = fmtDate;", "tzDate  = tzDate;", "addGap = addGap;", "clipGaps = clipGaps;",
        "rangeLog = rangeLog;", "rangeAsinh = rangeAsinh;"].map((line) => [`uPlot.${line}`, ""]),
    ...["stepped = stepped", "bars    = bars", "spline  = monotoneCubic"].map((line) => [`(paths.${line});`, ""]),
    ["const [ timeIncrsMs, _timeAxisStampsMs, timeAxisSplitsMs ] = genTimeStuffs(1);", "const timeIncrsMs = [], timeIncrsS = [];"],
    ["const [ timeIncrsS,  _timeAxisStampsS,  timeAxisSplitsS  ] = genTimeStuffs(1e-3);", ""],
    [/const _tzDate {2}= .*\n/g, ""],
    [/const _fmtDate = .*\n/g, ""],
    [/const _timeAxisSplits = .*\n/g, "const _timeAxisSplits = null;\n"],
    [/const _timeAxisVals {3}= .*\n/g, "const _timeAxisVals = null;\n"],
    [/const _timeSeriesVal {2}= .*\n/g, "const _timeSeriesVal = null;\n"],
    ["(isStr(sv) ? timeSeriesVal(_tzDate, timeSeriesStamp(sv, _fmtDate)) : sv || _timeSeriesVal)", "sv"],
    ["timeAxisVals(_tzDate, timeAxisStamps(av, _fmtDate))", "null"],
    ["timeAxisVal(_tzDate, av)", "null"],
    ["sc.distr == 3 ? logAxisSplits : sc.distr == 4 ? asinhAxisSplits : numAxisSplits", "numAxisSplits"],
    ["sc.distr >= 3 && sc.log == 10 ? log10AxisValsFilt : sc.distr == 3 && sc.log == 2 ? log2AxisValsFilt : retArg1", "retArg1"],
    ["rangeLog(_min, _min, scaleX.log, false)", "[_min, _max]"],
    ["rangeAsinh(_min, _min, scaleX.log, false)", "[_min, _max]"],
    ["rangeLog(dataMin, dataMax, self.scales[scale].log, false)", "[dataMin, dataMax]"],
    ["rangeAsinh(dataMin, dataMax, self.scales[scale].log, false)", "[dataMin, dataMax]"],
]

export const withoutUnused = {
    name: "without what is unused",
    setup({ onLoad }) {
        onLoad({ filter: /uPlot\.esm\.js$/ }, async ({ path }) => {
            let contents = await readFile(path, "utf8")
            for (const [from, to] of EDITS) {
                const times = contents.split(from).length - 1
                if (times !== 1) throw new Error(`stands ${times} times in uPlot: ${from}`)
                contents = contents.replace(from, to)
            }
            return { contents, loader: "js" }
        })
    },
}
