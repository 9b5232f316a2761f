// What the dashboard takes from preact, its hooks, its signals and htm, as one module.
import { h } from "preact"
import htm from "htm"

export { h, render, Fragment, Component, createContext } from "preact"
export { useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks"
export { batch, computed, effect, signal, untracked, useComputed, useSignal, useSignalEffect } from "@preact/signals"
export const html = htm.bind(h)
